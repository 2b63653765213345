"""A recipe as a subject: PyTorch's answer to each observable, and that of a recipe with a mistake.

The recipe takes its sizes from the inputs and its hyperparameters from the subject that it is compared with.
"""

import random
from collections.abc import Callable
from typing import Any

import torch

from harness.results import Observation
from harness.subjects.base import Inputs, Pending
from harness.subjects.norms import norm_distances
from harness.subjects.numbers import plain, tensor
from reference import adam, components, copying, expressions, gpt, training
from reference.recipe import Recipe

Answer = dict[str, Any]


class TorchReference:
    """A recipe, and the way in which its attention is computed."""

    def __init__(self, recipe: Recipe, attention: str = "mask") -> None:
        self.recipe, self.attention = recipe, attention

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Compute at once, in float64."""
        observation = self._observe(observable, inputs, reading)
        return lambda: observation

    def _observe(self, observable: str, inputs: Inputs, reading: str) -> Observation:
        answers: dict[str, Callable[[Inputs], Answer]] = {
            "tokens": self._tokens,
            "rms_norm": lambda given: {"y": components.norm(tensor(given["x"]), self.recipe)},
            "softmax": lambda given: {"y": components.softmax(tensor(given["x"]))},
            "linear": lambda given: {"y": components.linear(tensor(given["x"]), tensor(given["w"]))},
            "attention": self._attention,
            "logits": self._logits,
            "gradients": self._gradients,
            "past_gradients": self._past_gradients,
            "adam": self._adam,
            "first_update": lambda given: {"update": self._adam(_from_zero(given))["parameters"][0]},
            "documents": _documents,
            "expressions": _expressions,
            "training": self._training,
            "learning_rate": self._learning_rate,
            "samples": self._samples,
            "generation": _generation,
            "activation": lambda given: {"y": components.activation(tensor(given["x"]), self.recipe)},
            "stream_start": self._stream_start,
            "head": self._head,
            "parameters": self._parameters,
            "hyperparameters": self._hyperparameters,
            "stages": self._stages,
            "norm_distances": lambda given: norm_distances(self._stages(given), self._sized(given), given),
            "influence_gradients": self._influence_gradients,
            "conv1d": self._conv1d,
            "copy_loss": self._copy_loss,
        }
        if reading != "float64":
            return Observation(skipped=f"PyTorch computes in float64, not in {reading}")
        if observable not in answers:
            return Observation(skipped=f"PyTorch's decoder does not answer {observable!r}")
        arrays = answers[observable](inputs)
        return Observation(arrays={name: plain(array) for name, array in arrays.items()})

    def _sized(self, inputs: Inputs) -> Recipe:
        return self.recipe.edited(inputs["sizes"])

    def _decoder(self, inputs: Inputs) -> gpt.Decoder:
        recipe = self._sized(inputs)
        weights = {name: tensor(rows) for name, rows in inputs["weights"].items()}
        # A recipe with a mistake may have other parameters: a tied head one less, an extra norm a gain of one.
        known = {
            name: weights[name]
            if name in weights
            else torch.full(shape, float(name.endswith("gain")), dtype=torch.float64)
            for name, shape in recipe.parameter_shapes().items()
        }
        return gpt.Decoder(recipe, known, self.attention)

    def _tokens(self, inputs: Inputs) -> Answer:
        characters = sorted(set("".join(inputs["documents"])))
        bos = len(characters)
        ids = [[bos, *map(characters.index, text), bos] for text in inputs["documents"]]
        texts = {f"text {i}": text for i, text in enumerate(inputs["documents"])}
        return {f"document {i}": row for i, row in enumerate(ids)} | texts | {"bos": bos, "vocab_size": bos + 1}

    def _training(self, inputs: Inputs) -> Answer:
        recipe = self._sized(inputs).edited({"num_steps": inputs["num_steps"]})
        documents = [torch.tensor(document) for document in inputs["documents"]]
        weights = self._decoder(inputs).parameters
        losses, tables = training.train(recipe, weights, documents, inputs["steps"], self.attention)
        return {"losses": losses} | tables

    def _learning_rate(self, inputs: Inputs) -> Answer:
        recipe = self.recipe.edited({"num_steps": inputs["num_steps"]})
        return {"learning_rate": [adam.learning_rate_at(recipe, step) for step in range(recipe.num_steps)]}

    def _samples(self, inputs: Inputs) -> Answer:
        recipe, weights = self._sized(inputs), self._decoder(inputs).parameters
        stream = random.Random(inputs["seed"])  # noqa: S311 - the very stream that the subject is given
        temperature = inputs["temperature"]
        return {"samples": [training.sample(recipe, weights, temperature, stream) for _ in range(inputs["samples"])]}

    def _stream_start(self, inputs: Inputs) -> Answer:
        stages = self._decoder(inputs).stages(torch.tensor(inputs["tokens"][:-1]))
        added = [stage for name, stage in stages.items() if name.endswith(("attention_out", "mlp_out"))]
        return {"start": stages["final"] - torch.stack(added).sum(dim=0)}

    def _head(self, inputs: Inputs) -> Answer:
        table = "wte" if self.recipe.tied_head else "lm_head"
        return {"logits": components.linear(tensor(inputs["x"]), tensor(inputs["weights"][table]))}

    def _attention(self, inputs: Inputs) -> Answer:
        q, k, v = leaves = [tensor(inputs[name]).requires_grad_() for name in "qkv"]
        output = components.attention(q, k, v, self._sized(inputs), self.attention)
        found = torch.autograd.grad(output, leaves, tensor(inputs["cotangent"]), materialize_grads=True)
        return {"output": output} | {f"{name} gradient": g for name, g in zip("qkv", found, strict=True)}

    def _logits(self, inputs: Inputs) -> Answer:
        length = min(inputs["sizes"]["block_size"], len(inputs["tokens"]) - 1)
        return {"logits": self._decoder(inputs).logits(torch.tensor(inputs["tokens"][:length]))}

    def _gradients(self, inputs: Inputs) -> Answer:
        if inputs["component"] != "loss":
            return self._component_gradients(inputs)
        decoder = self._decoder(inputs)
        losses = torch.stack([decoder.loss(torch.tensor(document)) for document in inputs["documents"]])
        leaves = decoder.parameters
        found = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        return {"loss": losses} | dict(zip(leaves, found, strict=True))

    def _component_gradients(self, inputs: Inputs) -> Answer:
        leaves = {name: tensor(inputs[name]).requires_grad_() for name in ("x", "w") if name in inputs}
        compute: dict[str, Callable[..., torch.Tensor]] = {
            "rms_norm": lambda x: components.norm(x, self.recipe),
            "softmax": components.softmax,
            "linear": components.linear,
        }
        y = compute[inputs["component"]](*leaves.values())
        found = torch.autograd.grad(y, list(leaves.values()), tensor(inputs["cotangent"]))
        return dict(zip(leaves, found, strict=True))

    def _stages(self, inputs: Inputs) -> Answer:
        return self._decoder(inputs).stages(torch.tensor(inputs["tokens"][:-1]))

    def _influence_gradients(self, inputs: Inputs) -> Answer:
        """Through the rows of wte, for tokens that are distinct and a head of its own."""
        decoder, tokens = self._decoder(inputs), torch.tensor(inputs["tokens"][:-1])
        logits = decoder.logits(tokens)
        cotangent = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        table = decoder.parameters["wte"]
        rows = [torch.autograd.grad(row @ cotangent, table, retain_graph=True)[0][tokens] for row in logits]
        size = torch.stack(rows).abs().amax(-1)
        later = torch.triu(torch.ones_like(size), diagonal=1).bool()
        return {"later": size[later], "up to present": size[~later]}

    def _conv1d(self, inputs: Inputs) -> Answer:
        """x W + b for every matrix of GPT-2, as a plain linear layer."""
        x, answer = tensor(inputs["x"]), {}
        for name in self._sized(inputs).parameter_shapes():
            if name.endswith(".bias") and "norm" not in name:
                matrix = name.removesuffix(".bias")
                w, b = tensor(inputs["weights"][matrix]), tensor(inputs["weights"][name])
                answer[matrix] = components.linear(x[: w.shape[1]], w, b)
        return answer

    def _copy_loss(self, inputs: Inputs) -> Answer:
        return {"above entropy": copying.loss_above_entropy(self.recipe, inputs["steps"], inputs["seed"])}

    def _past_gradients(self, inputs: Inputs) -> Answer:
        decoder, tokens = self._decoder(inputs), torch.tensor(inputs["tokens"])
        last = components.next_token_loss(decoder.logits(tokens[:-1])[-1:], tokens[-1:], decoder.recipe)
        (rows,) = torch.autograd.grad(last, [decoder.parameters["wte"]])
        return {"gradient": rows[tokens[:-1]].abs().amax(dim=1)}

    def _adam(self, inputs: Inputs) -> Answer:
        recipe = self.recipe
        if given := inputs.get("hyperparameters"):
            recipe = recipe.edited({"beta1": given["beta1"], "beta2": given["beta2"], "eps_adam": given["eps"]})
        parameters, gradients, m, v = (tensor(inputs[name]) for name in ("parameters", "gradients", "m", "v"))
        rates, start = inputs["learning_rates"], inputs["first_step"]
        return dict(adam.trajectory(recipe, parameters, gradients, rates, m, v, start))

    def _parameters(self, inputs: Inputs) -> Answer:
        shapes = {name: list(shape) for name, shape in self._sized(inputs).parameter_shapes().items()}
        return shapes | {"vectors": sum(sum(axis > 1 for axis in shape) < 2 for shape in shapes.values())}

    def _hyperparameters(self, _inputs: Inputs) -> Answer:
        names = (
            "learning_rate",
            "beta1",
            "beta2",
            "eps_adam",
            "num_steps",
            "n_embd",
            "n_head",
            "n_layer",
            "block_size",
        )
        return {name: getattr(self.recipe, name) for name in names} | {"temperature": 0.5}


def _documents(inputs: Inputs) -> Answer:
    found = [line.strip() for line in inputs["text"].split("\n") if line.strip()]
    return {"documents": sorted(found), "shuffled": True}


def _expressions(inputs: Inputs) -> Answer:
    values, gradients = expressions.evaluate(inputs["leaves"], inputs["program"], inputs["cotangent"])
    return {"values": values, "gradients": gradients}


def _generation(inputs: Inputs) -> Answer:
    """Each token that is drawn is fed at the next position, until B tokens are there, or BOS, which is left out."""
    bos = inputs["sizes"]["vocab_size"] - 1
    drawn = [script[: script.index(bos)] if bos in script else script for script in inputs["scripts"]]
    fed = [[bos, *tokens][: len(script)] for tokens, script in zip(drawn, inputs["scripts"], strict=True)]
    positions = [list(range(len(tokens))) for tokens in fed]
    return {"tokens fed": fed, "positions fed": positions, "keys held": positions, "samples": drawn}


def _from_zero(inputs: Inputs) -> Inputs:
    return inputs | {"parameters": [0.0] * len(inputs["parameters"])}

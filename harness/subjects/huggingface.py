"""Hugging Face's modules as subjects: GPT-2 as it is, GPT-2 with the recipe's edits, GPT-2 with a mistake, and GPT-1.

What a module does not return is seen by hooks: what each sub-block receives and gives, the mask that attention is
given, what a `Conv1D` makes of its input. Letters: T positions, C width, H heads, L layers, V vocabulary, B block
size.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.results import Observation
from harness.subjects.base import Inputs, Pending
from harness.subjects.norms import norm_distances
from harness.subjects.numbers import plain, tensor
from reference import huggingface as hf
from reference.recipe import GPT1, GPT2, MICROGPT, Recipe

Answer = dict[str, Any]
DROPPING = ("drop", "h.0.attn.attn_dropout", "h.0.attn.resid_dropout", "h.0.mlp.dropout")
PROBABILITY = 0.5  # of dropout, where its effect is asked for


class HuggingFace:
    """One module and how it is made; each observation builds its own."""

    def __init__(
        self, sources: hf.Sources, attention: str = "sdpa", recipe: str = "gpt2", *, first: bool = False
    ) -> None:
        self.sources, self.attention, self.first = sources, attention, first
        self.becomes_microgpt = recipe == "microgpt"

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Compute at once, in float64."""
        if reading != "float64":
            return lambda: Observation(skipped=f"PyTorch computes in float64, not in {reading}")
        answers: dict[str, Callable[[Inputs], Answer]] = {
            "logits": self._logits,
            "gradients": self._gradients,
            "stages": self._stages,
            "norm_distances": lambda given: norm_distances(self._stages(given), self._recipe(given), given),
            "position_gradients": self._position_gradients,
            "attention_probabilities": self._probabilities,
            "causal_mask": self._mask,
            "influence_gradients": self._influence_gradients,
            "activation": self._activation,
            "conv1d": self._conv1d,
            "dropout": self._dropout,
            "edit_distances": self._edit_distances,
            "gpt2_config": self._config,
            "beyond_positions": self._beyond_positions,
            "parameters": self._parameters,
            "rms_norm": self._rms_norm,
        }
        try:
            arrays = answers[observable](inputs)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            observation = Observation(error=message, arithmetic=isinstance(error, ArithmeticError))
        else:
            observation = Observation(arrays={name: plain(array) for name, array in arrays.items()})
        return lambda: observation

    def _recipe(self, inputs: Inputs) -> Recipe:
        base = MICROGPT if self.becomes_microgpt else GPT1 if self.first else GPT2
        return base.edited(inputs["sizes"])

    def _model(self, inputs: Inputs, **settings: Any) -> Any:
        recipe, weights = self._recipe(inputs), {n: tensor(rows) for n, rows in inputs["weights"].items()}
        if self.becomes_microgpt:
            return hf.toward_microgpt(self.sources, recipe, weights, attention=self.attention)
        sizes = inputs["sizes"]
        model = hf.gpt1(sizes) if self.first else hf.gpt2(self.sources, sizes, self.attention, **settings)
        known = {name: weights[name] for name in recipe.parameter_shapes()}
        hf.load(model, recipe, known, first=self.first)
        return model

    # --- function -----------------------------------------------------------------------------------------------------

    def _logits(self, inputs: Inputs) -> Answer:
        model, tokens = self._model(inputs), _positions(inputs)
        if inputs.get("feed", "full") == "cached":
            return {"logits": _step_by_step(model, tokens)}
        with torch.no_grad():
            return {"logits": model(tokens).logits[0]}

    def _gradients(self, inputs: Inputs) -> Answer:
        model, recipe = self._model(inputs), self._recipe(inputs)
        losses = []
        for document in inputs["documents"]:
            length = min(recipe.block_size, len(document) - 1)
            logits = model(torch.tensor([document[:length]])).logits[0]
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(document[1 : length + 1])))
        parameters = dict(model.named_parameters())
        losses_ = torch.stack(losses)
        found = torch.autograd.grad(losses_.sum(), list(parameters.values()), materialize_grads=True)
        theirs = dict(zip(parameters, found, strict=True))
        return {"loss": losses_} | hf.named(recipe, theirs, first=self.first)

    def _position_gradients(self, inputs: Inputs) -> Answer:
        """Largest gradient of the loss by each row of wpe: those of the T positions, and those beyond."""
        rows = self._gradients({**inputs, "documents": [inputs["tokens"]]})["wpe"].abs().amax(-1)
        length = len(inputs["tokens"]) - 1
        return {"used": rows[:length], "unused": rows[length:]}

    def _influence_gradients(self, inputs: Inputs) -> Answer:
        """Largest |d logits[t] / d embedding s|, in two arrays: s later than t, and s up to t."""
        model, tokens = self._model(inputs), _positions(inputs)
        embedded = model.get_input_embeddings()(tokens).detach().requires_grad_()
        return influence(model(inputs_embeds=embedded).logits[0], embedded)

    # --- what is inside -----------------------------------------------------------------------------------------------

    def _stages(self, inputs: Inputs) -> Answer:
        model = self._model(inputs)
        seen: Answer = {}
        with _hooks(model, seen, first=self.first), torch.no_grad():
            seen["logits"] = model(_positions(inputs)).logits
        return {name: value[0] for name, value in seen.items()}

    def _probabilities(self, inputs: Inputs) -> Answer:
        """Attention weights, L x H x T x T, split at the diagonal; and the sum of each row."""
        model = self._model(inputs)
        with torch.no_grad():
            every = torch.cat(model(_positions(inputs), output_attentions=True).attentions)
        length = every.shape[-1]
        later = torch.triu(torch.ones(length, length), diagonal=1).bool()
        return {"later": every[..., later], "up to present": every[..., ~later], "row sums": every.sum(-1)}

    def _mask(self, inputs: Inputs) -> Answer:
        """What attention is given as its mask: whether there is one, and its values on both sides of the diagonal."""
        model = self._model(inputs)
        masks: list[Any] = []
        signature = inspect.signature(model.transformer.h[0].attn.forward)

        def look(_module: Any, arguments: Any, keywords: Any) -> None:
            masks.append(signature.bind(*arguments, **keywords).arguments.get("attention_mask"))

        handle = model.transformer.h[0].attn.register_forward_pre_hook(look, with_kwargs=True)
        with torch.no_grad():
            model(_positions(inputs))
        handle.remove()
        mask = masks[0]
        if mask is None:
            return {"built": "no"}
        square = mask[0, 0]
        later = torch.triu(torch.ones_like(square), diagonal=1).bool()
        hidden = bool((square[later] <= torch.finfo(torch.float32).min).all())
        return {
            "built": "yes",
            "later": "minus infinity, or the least number" if hidden else "visible",
            "up to present": "zero" if not square[~later].any() else "not zero",
        }

    def _activation(self, inputs: Inputs) -> Answer:
        model = hf.gpt2(self.sources, inputs["sizes"], self.attention)
        return {"y": model.transformer.h[0].mlp.act(tensor(inputs["x"]))}

    def _conv1d(self, inputs: Inputs) -> Answer:
        """What each Conv1D gives for one input (its width, cut from x): by name, weights and biases as loaded."""
        model = self._model(inputs)
        x = tensor(inputs["x"])
        found = {name: module for name, module in model.named_modules() if type(module).__name__ == "Conv1D"}
        names = hf.names(self._recipe(inputs))
        answer: Answer = {}
        for name, module in found.items():
            parts = names[f"{name}.weight"]
            outputs = module(x[: module.weight.shape[0]].unsqueeze(0))[0].chunk(len(parts))
            answer |= dict(zip(parts, outputs, strict=True))
        return answer

    def _dropout(self, inputs: Inputs) -> Answer:
        """How far the logits move when one probability alone is not zero: in training, and in evaluation mode.

        First each of the configuration's, then each module's that drops something in the blocks.
        """
        off = dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), 0.0)
        tokens = _positions(inputs)
        answer: Answer = {"training": [], "modules": [], "evaluation": []}
        with torch.no_grad():
            without = self._model(inputs, **off)(tokens).logits

            def moved(model: Any, *, training: bool) -> float:
                torch.manual_seed(0)
                return float((model.train(training)(tokens).logits - without).abs().max())

            for name in off:
                model = self._model(inputs, **{**off, name: PROBABILITY})
                answer["training"].append(moved(model, training=True))
                answer["evaluation"].append(moved(model, training=False))
            for path in DROPPING:
                model = self._model(inputs, **off)
                model.get_submodule(f"transformer.{path}").p = PROBABILITY
                answer["modules"].append(moved(model, training=True))
        return answer

    # --- toward microgpt ----------------------------------------------------------------------------------------------

    def _edit_distances(self, inputs: Inputs) -> Answer:
        """Distance of the logits from those of all edits: with each left out, and after each rung of the ladder."""
        recipe = MICROGPT.edited(inputs["sizes"])
        weights = {name: tensor(rows) for name, rows in inputs["weights"].items()}
        tokens = _positions(inputs)

        def logits(fields: tuple[str, ...]) -> torch.Tensor:
            model = hf.toward_microgpt(self.sources, recipe, weights, fields, attention=self.attention)
            torch.manual_seed(0)
            with torch.no_grad():
                found: torch.Tensor = model(tokens).logits
            return found

        every = logits(hf.LADDER)
        left_out = [logits(tuple(f for f in hf.LADDER if f != field)) for field in hf.LADDER]
        rungs = [logits(hf.LADDER[:number]) for number in range(len(hf.LADDER) + 1)]
        return {
            "left out": [float((each - every).abs().max()) for each in left_out],
            "ladder": [float((each - every).abs().max()) for each in rungs],
        }

    # --- configuration ------------------------------------------------------------------------------------------------

    def _config(self, _inputs: Inputs) -> Answer:
        default = self.sources.configuration.GPT2Config()
        names = ("bos_token_id", "eos_token_id", "activation_function", "vocab_size", "tie_word_embeddings")
        values = {name: getattr(default, name) for name in names}
        return values | {"bos equals eos": "yes" if values["bos_token_id"] == values["eos_token_id"] else "no"}

    def _beyond_positions(self, inputs: Inputs) -> Answer:
        """What becomes of one token more than n_positions."""
        model = self._model(inputs)
        try:
            with torch.no_grad():
                model(torch.zeros(1, inputs["sizes"]["block_size"] + 1, dtype=torch.int64))
        except (IndexError, RuntimeError) as error:
            return {"raises": type(error).__name__}
        return {"raises": "nothing"}

    def _parameters(self, inputs: Inputs) -> Answer:
        """Shapes by Hugging Face's names; how many Conv1D have no bias, and how many biases the head has."""
        model = hf.gpt2(self.sources, inputs["sizes"], self.attention)
        modules = [module for module in model.modules() if type(module).__name__ == "Conv1D"]
        shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
        return shapes | {
            "Conv1D modules": len(modules),
            "Conv1D modules without bias": sum("bias" not in dict(module.named_parameters()) for module in modules),
            "biases of the head": int(model.lm_head.bias is not None),
        }

    def _rms_norm(self, inputs: Inputs) -> Answer:
        """Hugging Face's RMSNorm module, as its Llama has it, with a gain of one; it computes in float32."""
        from transformers.models.llama.modeling_llama import LlamaRMSNorm  # noqa: PLC0415 - most checks do without

        x = tensor(inputs["x"])
        return {"y": LlamaRMSNorm(len(x), eps=MICROGPT.norm_eps).double()(x)}


def influence(logits: torch.Tensor, embedded: torch.Tensor) -> Answer:
    """Largest |d logits[t] / d embedding s| for s later than t, and for s up to t: logits T x V, embedded 1 x T x C."""
    length = logits.shape[0]
    cotangent = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = [torch.autograd.grad(logits[t] @ cotangent, embedded, retain_graph=True)[0][0] for t in range(length)]
    size = torch.stack(rows).abs().amax(-1)
    later = torch.triu(torch.ones(length, length), diagonal=1).bool()
    return {"later": size[later], "up to present": size[~later]}


def _positions(inputs: Inputs) -> torch.Tensor:
    length = min(inputs["sizes"]["block_size"], len(inputs["tokens"]) - 1)
    return torch.tensor([inputs["tokens"][:length]])


def _step_by_step(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The logits (T x V) of one token at a time, through the module's own cache."""
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    rows, cache = [], None
    with torch.no_grad():
        for at in range(tokens.shape[1]):
            output = model(tokens[:, at : at + 1], use_cache=True, **{name: cache})
            rows.append(output.logits[0, 0])
            cache = getattr(output, name)
    return torch.stack(rows)


@contextmanager
def _hooks(model: Any, seen: Answer, *, first: bool) -> Iterator[None]:
    """Record what each sub-block receives and gives, under the names of the reference decoder's stages."""
    handles: list[Any] = []

    def receives(module: Any, name: str) -> None:
        def look(_module: Any, arguments: Any, keywords: Any) -> None:
            seen[name] = arguments[0] if arguments else next(iter(keywords.values()))

        handles.append(module.register_forward_pre_hook(look, with_kwargs=True))

    def gives(module: Any, *names: str) -> None:
        def look(_module: Any, _arguments: Any, output: Any) -> None:
            seen.update(dict.fromkeys(names, output[0] if isinstance(output, (tuple, list)) else output))

        handles.append(module.register_forward_hook(look))

    blocks = model.transformer.h
    receives(blocks[0], "embedding")
    for i, block in enumerate(blocks):
        receives(block.attn, f"layer{i}.attention_in")
        gives(block.attn, f"layer{i}.attention_out")
        receives(block.mlp if first else block.ln_2, f"layer{i}.attention_sum")
        receives(block.mlp, f"layer{i}.mlp_in")
        gives(block.mlp, f"layer{i}.mlp_out")
        gives(block, f"layer{i}.mlp_sum")
    receives(model.lm_head, "final")
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

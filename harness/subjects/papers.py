"""The papers' equations as a subject: in float64, in 50 digits, or in symbols.

The equations are generic over their numbers, so that one transcription serves all three. Inputs become numbers by the
names that the subject's trace gives them.
"""

import math
from collections.abc import Callable
from typing import Any

from harness import trace
from harness.observables import OBSERVABLES
from harness.results import Observation
from harness.subjects.base import Inputs, Pending
from reference import papers

Answer = dict[str, Any]


class Numbers:
    """One kind of number: how an input is made of its name and its float, and the functions that go with it."""

    def __init__(self, reading: str, observable: str) -> None:
        assumptions = OBSERVABLES[observable].symbols
        self.functions: Any = math
        self.make: Callable[[str, float], Any] = lambda _name, value: value
        self.constant: Callable[[float], Any] = lambda value: value
        if reading == "digits":
            from harness import proof  # noqa: PLC0415 - mpmath is needed by two readings only

            self.functions = proof.mp
            self.make = lambda _name, value: proof.mp.mpf(value)
            self.constant = lambda value: proof.rational(trace.exact(value))
        elif reading == "symbols":
            import sympy  # noqa: PLC0415 - half a second, for one reading

            from harness import proof  # noqa: PLC0415

            self.functions = sympy
            self.make = lambda name, _value: proof.symbol(name, assumptions)
            self.constant = lambda value: sympy.Rational(*trace.exact(value).as_integer_ratio())

    def vector(self, name: str, values: list[float]) -> list[Any]:
        """Numbers named ``name[i]``."""
        return [self.make(f"{name}[{i}]", value) for i, value in enumerate(values)]

    def one(self) -> Any:
        """The unit gain."""
        return self.constant(1.0) if self.functions is not math else 1.0


class Papers:
    """Answers observables from the equations; hyperparameters are the subject's own."""

    def __init__(
        self, hyperparameters: dict[str, float], eps_under_root: float = 0.0, activation: str = "gelu tanh"
    ) -> None:
        self.hyperparameters, self.eps_under_root, self.activation = hyperparameters, eps_under_root, activation

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Compute at once; the observation."""
        answers: dict[str, Callable[[Numbers, Inputs], Answer]] = {
            "rms_norm": self._rms_norm,
            "softmax": self._softmax,
            "linear": self._linear,
            "attention": self._attention,
            "attention_widths": self._attention_widths,
            "cache_lengths": self._cache_lengths,
            "dependencies": self._dependencies,
            "activation": self._activation,
            "head": self._head,
            "logits": self._logits,
            "adam": self._adam,
            "first_update": self._first_update,
            "optimizer_start": self._optimizer_start,
        }
        if observable not in answers:
            return lambda: Observation(skipped=f"no paper's equation answers {observable!r}")
        try:
            observation = Observation(arrays=answers[observable](Numbers(reading, observable), inputs))
        except ArithmeticError as error:
            observation = Observation(error=f"{type(error).__name__}: {error}", arithmetic=True)
        return lambda: observation

    def _rms_norm(self, numbers: Numbers, inputs: Inputs) -> Answer:
        x = numbers.vector("x", inputs["x"])
        eps = numbers.constant(self.eps_under_root)
        return {"y": papers.rms_norm(x, [numbers.one()] * len(x), numbers.functions, eps_under_root=eps)}

    def _softmax(self, numbers: Numbers, inputs: Inputs) -> Answer:
        return {"y": papers.softmax(numbers.vector("x", inputs["x"]), numbers.functions)}

    def _linear(self, numbers: Numbers, inputs: Inputs) -> Answer:
        w = [numbers.vector(f"w[{i}]", row) for i, row in enumerate(inputs["w"])]
        return {"y": papers.linear(numbers.vector("x", inputs["x"]), w)}

    def _activation(self, numbers: Numbers, inputs: Inputs) -> Answer:
        functions = numbers.functions
        compute: dict[str, Callable[[Any], Any]] = {
            "relu": papers.relu,
            "gelu": lambda x: papers.gelu(x, functions),
            "gelu tanh": lambda x: papers.gelu_tanh(x, functions),
        }
        return {"y": [compute[self.activation](x) for x in numbers.vector("x", inputs["x"])]}

    def _head(self, numbers: Numbers, inputs: Inputs) -> Answer:
        return {"logits": self._linear(numbers, inputs | {"w": inputs["weights"]["lm_head"]})["y"]}

    def _attention(self, numbers: Numbers, inputs: Inputs) -> Answer:
        """The output alone: a paper prints no derivative."""
        heads = inputs["sizes"]["n_head"]
        layers = zip(inputs["q"], inputs["k"], inputs["v"], strict=True)
        return {"output": [papers.causal_self_attention(q, k, v, heads, numbers.functions) for q, k, v in layers]}

    def _attention_widths(self, _numbers: Numbers, inputs: Inputs) -> Answer:
        softmaxes = inputs["sizes"]["n_layer"] * inputs["sizes"]["n_head"]
        return {"scores": [[sum(row)] * softmaxes for row in papers.causal_mask(len(inputs["tokens"]) - 1)]}

    def _cache_lengths(self, _numbers: Numbers, inputs: Inputs) -> Answer:
        layers, block = inputs["sizes"]["n_layer"], inputs["sizes"]["block_size"]
        answer: Answer = {}
        for i, document in enumerate(inputs["documents"]):
            held = [[sum(row)] * layers for row in papers.causal_mask(min(block, len(document) - 1))]
            answer |= {f"keys of document {i}": held, f"values of document {i}": held}
        return answer

    def _dependencies(self, _numbers: Numbers, inputs: Inputs) -> Answer:
        """For logits the causal mask; for the norm, which symbols stand in each element of the equation."""
        if "x" in inputs:
            names = [f"x[{i}]" for i in range(len(inputs["x"]))]
            y = self._rms_norm(Numbers("symbols", "rms_norm"), inputs)["y"]
            used = [{str(symbol) for symbol in element.free_symbols} for element in y]
            return {"input": [[float(name in symbols) for name in names] for symbols in used]}
        mask = [[float(allowed) for allowed in row] for row in papers.causal_mask(len(inputs["tokens"]) - 1)]
        return {"tokens": mask, "positions": mask}

    def _logits(self, numbers: Numbers, inputs: Inputs) -> Answer:
        length = min(inputs["sizes"]["block_size"], len(inputs["tokens"]) - 1)
        weights = {
            name: [numbers.vector(f"{name}[{i}]", row) for i, row in enumerate(rows)]
            for name, rows in inputs["weights"].items()
        }
        eps = numbers.constant(self.eps_under_root)
        tokens = inputs["tokens"][:length]
        return {"logits": papers.decoder_logits(weights, tokens, inputs["sizes"], numbers.functions, eps)}

    def _first_update(self, numbers: Numbers, inputs: Inputs) -> Answer:
        gradients = numbers.vector("gradient", inputs["gradients"][0])
        alpha = numbers.make("learning_rate", inputs["learning_rates"][0])
        eps = self._betas_and_eps(numbers, inputs)[2]
        return {"update": [papers.adam_first_step(g, alpha, eps, numbers.functions) for g in gradients]}

    def _optimizer_start(self, _numbers: Numbers, inputs: Inputs) -> Answer:
        """Algorithm 1 begins with m, v and t at zero."""
        size = sum(len(row) for matrix in inputs["weights"].values() for row in matrix)
        return {"m": [0.0] * size, "v": [0.0] * size, "step": 0.0}

    def _betas_and_eps(self, numbers: Numbers, inputs: Inputs) -> list[Any]:
        if given := inputs.get("hyperparameters"):
            return [numbers.make(name, given[name]) for name in ("beta1", "beta2", "eps")]
        return [numbers.constant(self.hyperparameters[name]) for name in ("beta1", "beta2", "eps_adam")]

    def _adam(self, numbers: Numbers, inputs: Inputs) -> Answer:
        """Algorithm 1, one parameter at a time; t counts from 1."""
        beta1, beta2, eps = self._betas_and_eps(numbers, inputs)
        theta = numbers.vector("parameter", inputs["parameters"])
        m, v = numbers.vector("m", inputs["m"]), numbers.vector("v", inputs["v"])
        steps: Answer = {"parameters": [], "m": [], "v": []}
        for k, (row, rate) in enumerate(zip(inputs["gradients"], inputs["learning_rates"], strict=True)):
            g = numbers.vector(f"gradient[{k}]", row)
            alpha, t = numbers.make("learning_rate", rate), numbers.make("step", inputs["first_step"]) + k + 1
            for i in range(len(theta)):
                theta[i], m[i], v[i] = papers.adam_step(
                    theta[i], m[i], v[i], g[i], t, alpha, beta1, beta2, eps, numbers.functions
                )
            for name, state in (("parameters", theta), ("m", m), ("v", v)):
                steps[name].append(list(state))
        return steps

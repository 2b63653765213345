"""Drives a Python microgpt: which of its functions plays which part, and how its model is built and run.

It runs in the subject's process and needs the standard library alone. The subject's code is executed as it stands;
where something is to be seen that none of its functions returns, one name in its namespace is replaced by a function
that looks on and calls the original. How each observable is asked stands in `asking` and `witnessing`.

Letters: T positions, L layers, V vocabulary.
"""

import inspect
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

Inputs = dict[str, Any]
Answer = dict[str, Any]


class Unsupported(Exception):  # noqa: N818 - it is an answer, not a failure
    """The subject has nothing to answer this with; the message says what was looked for."""


class Subject:
    """One fresh execution of the subject's code, which `text` is the source of.

    `number` makes a number from outside, by name: a float or a traced one. `prepare` is called with the namespace
    once the code has run.
    """

    def __init__(
        self, code: CodeType, text: str, number: Callable[[str, float], Any], prepare: Callable[[Inputs], None]
    ) -> None:
        module = ModuleType("subject")
        module.__file__ = code.co_filename
        sys.modules["subject"] = module  # dataclasses look their module up
        self.namespace: dict[str, Any] = vars(module)
        exec(code, self.namespace)  # noqa: S102 - running the subject is the point
        prepare(self.namespace)
        self.number, self.text = number, text

    def part(self, name: str) -> Any:
        """What the subject calls `name`; Unsupported where it has no such thing."""
        if name not in self.namespace:
            raise Unsupported(f"the subject defines no {name!r} at module level")
        return self.namespace[name]

    def value(self, name: str, number: float) -> Any:
        """A leaf of the subject's own autograd."""
        return self.part("Value")(self.number(name, number))

    def vector(self, name: str, numbers: list[float]) -> list[Any]:
        """One leaf for each number, named ``name[i]``."""
        return [self.value(f"{name}[{i}]", number) for i, number in enumerate(numbers)]

    def matrix(self, name: str, rows: list[list[float]]) -> list[list[Any]]:
        """One leaf for each number, named ``name[i][j]``."""
        return [self.vector(f"{name}[{i}]", row) for i, row in enumerate(rows)]

    @contextmanager
    def replaced(self, name: str, replacement: Any) -> Iterator[None]:
        """Put `replacement` in the place of one of the subject's functions for a while."""
        original = self.part(name)
        self.namespace[name] = replacement
        try:
            yield
        finally:
            self.namespace[name] = original


class Model:
    """A subject's model at given sizes with given weights."""

    def __init__(self, subject: Subject, inputs: Inputs) -> None:
        self.subject = subject
        self.config = call(subject, "Config", **inputs["sizes"])
        self.layers: int = inputs["sizes"]["n_layer"]
        shapes = {name: shape(matrix) for name, matrix in own_parameters(subject, self.config).items()}
        given = {name: shape(matrix) for name, matrix in inputs["weights"].items()}
        if shapes != given:
            odd = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
            raise Unsupported(f"the subject's parameters are not those of the probe: {', '.join(odd)}")
        self.weights = {name: subject.matrix(name, rows) for name, rows in inputs["weights"].items()}
        if inputs.get("norm") == "plain":
            subject.namespace["rmsnorm"] = _plain_norm

    def gpt(self, token: int, position: int, keys: Any, values: Any) -> list[Any]:
        """The logits (V) at one position."""
        return list(self.subject.part("gpt")(self.weights, self.config, token, position, keys, values))

    def empty_cache(self) -> tuple[list[Any], list[Any]]:
        """Keys and values of no position."""
        return [[] for _ in range(self.layers)], [[] for _ in range(self.layers)]

    def loss(self, tokens: list[int]) -> Any:
        """The subject's own loss of one document, by its own loop over the positions."""
        return self.subject.part("document_loss")(self.weights, self.config, tokens)

    @contextmanager
    def watched(self, look: Callable[[list[Any], Any, Any], None]) -> Iterator[None]:
        """Call `look` with (logits, keys, values) after each call of the subject's `gpt`."""
        original = self.subject.part("gpt")

        def watching(*arguments: Any) -> Any:
            logits = original(*arguments)
            look(logits, *arguments[-2:])
            return logits

        with self.subject.replaced("gpt", watching):
            yield

    def document(self, tokens: list[int], attention: str = "cache") -> tuple[Any, list[Any]]:
        """Loss and logits (T x V) of one document, as the subject's own loop computes them.

        With attention "mask" the cache holds every position from the start, and an explicit mask hides the later ones.
        """
        rows: list[Any] = []
        if attention == "mask":
            with explicit_mask(self, tokens), self.watched(lambda logits, _keys, _values: rows.append(logits)):
                self.loss(tokens)  # fills the cache with every position's keys and values
                rows.clear()
                loss = self.loss(tokens)
        else:
            with self.watched(lambda logits, _keys, _values: rows.append(logits)):
                loss = self.loss(tokens)
        return loss, rows


def own_parameters(subject: Subject, config: Any) -> dict[str, Any]:
    """The parameter table that the subject itself would start from."""
    return dict(subject.part("init_state_dict")(config, random.Random(0)))  # noqa: S311


def call(subject: Subject, name: str, **keywords: Any) -> Any:
    """Call one of the subject's parts by keywords; Unsupported where it does not take them."""
    part = subject.part(name)
    if missing := set(keywords) - set(inspect.signature(part).parameters):
        raise Unsupported(f"the subject's {name!r} does not take {', '.join(sorted(missing))}")
    return part(**keywords)


def shape(nested: Any) -> list[int]:
    """The length of nested lists along each axis, as their first items have it."""
    axes = []
    while isinstance(nested, (list, tuple)):
        axes.append(len(nested))
        nested = nested[0] if nested else None
    return axes


def _plain_norm(x: list[Any]) -> list[Any]:
    """Stand in for the subject's norm where that is not on trial: x over its root mean square."""
    scale = (sum(xi * xi for xi in x) * len(x) ** -1 + 1e-5) ** -0.5
    return [xi * scale for xi in x]


class _FullCache(list):  # type: ignore[type-arg]
    """A layer's keys or values with a place for every position: `append` writes the place of the current one."""

    def __init__(self, places: list[Any], position: Callable[[], int]) -> None:
        super().__init__(places)
        self._position = position

    def append(self, item: Any) -> None:
        self[self._position()] = item


@contextmanager
def explicit_mask(model: Model, tokens: list[int]) -> Iterator[None]:
    """Let the subject's own functions attend over all T positions at once, later ones masked by minus infinity."""
    subject, width = model.subject, model.config.n_embd
    length = min(model.config.block_size, len(tokens) - 1)
    now, softmaxes = 0, 0
    value, gpt, softmax = subject.part("Value"), subject.part("gpt"), subject.part("softmax")
    caches = [
        [_FullCache([[value(0.0)] * width for _ in range(length)], lambda: now) for _ in range(model.layers)]
        for _ in ("keys", "values")
    ]

    def masked(scores: list[Any]) -> Any:
        nonlocal softmaxes
        softmaxes += 1
        return softmax([s if i <= now else s + float("-inf") for i, s in enumerate(scores)])

    def over_full_caches(*arguments: Any) -> Any:
        nonlocal now
        now = arguments[-3]
        with subject.replaced("softmax", masked):
            return gpt(*arguments[:-2], *caches)

    with subject.replaced("gpt", over_full_caches):
        yield
    if not softmaxes:
        raise Unsupported("no `softmax` is called inside `gpt`, so no mask can be put before it")


def data(nested: Any) -> Any:
    """Numbers out of nested lists of the subject's values."""
    if isinstance(nested, (list, tuple)):
        return [data(item) for item in nested]
    return getattr(nested, "data", nested)


def gradient(nested: Any) -> Any:
    """Gradients out of nested lists of the subject's values."""
    if isinstance(nested, list):
        return [gradient(item) for item in nested]
    return nested.grad


def flat(nested: Any) -> list[Any]:
    """The items of nested lists, from left to right."""
    return [leaf for item in nested for leaf in flat(item)] if isinstance(nested, list) else [nested]

"""Observables that the harness computes from other observations, so that no subject has to know of them.

Both are about influence: the same model on a document and on changed copies of it. Letters: T positions, V vocabulary.
"""

from typing import Any

import numpy as np

Inputs = dict[str, Any]


def requests(observable: str, inputs: Inputs) -> list[Inputs]:
    """What `logits` is asked for; the first is the document as it is."""
    tokens = inputs["tokens"]
    if observable == "past_influence":
        changed = [_with(tokens, [at], inputs) for at in range(len(tokens) - 1)]
    elif inputs["change"] == "removed":
        changed = [tokens[: at + 2] for at in range(len(tokens) - 2)]
    else:
        changed = [_with(tokens, range(at + 1, len(tokens)), inputs) for at in range(len(tokens) - 2)]
    return [inputs | {"tokens": document} for document in [tokens, *changed]]


def combine(observable: str, arrays: list[dict[str, Any]], asked: list[Inputs] | None = None) -> dict[str, Any]:
    """The change of the logits, from the observations of `requests`, as the observable wants it.

    Logits of another shape than `asked` for (a row for each position, all of one length) are no answer: not a number.
    """
    every = [_rows(each["logits"]) for each in arrays]
    lengths = [len(inputs["tokens"]) - 1 for inputs in asked or []] or [len(rows) for rows in every if rows is not None]
    if any(rows is None or len(rows) != length for rows, length in zip(every, lengths, strict=True)):
        return {"change": [np.nan]}
    original, *changed = every
    if len({rows.shape[1] for rows in every}) > 1:
        return {"change": [np.nan]}
    if observable == "past_influence":
        change = [
            _largest(original[at], other[at]) for s, other in enumerate(changed) for at in range(s, len(original))
        ]
    else:
        change = [_largest(original[: at + 1], other[: at + 1]) for at, other in enumerate(changed)]
    return {"change": change}


def _rows(nested: Any) -> Any:
    """A matrix, or None where it is none."""
    try:
        rows = np.array(nested, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return rows if rows.ndim == 2 and rows.size else None


def _with(tokens: list[int], places: Any, inputs: Inputs) -> list[int]:
    """The document with other tokens at some places: each becomes the next one of the vocabulary."""
    size = inputs["sizes"]["vocab_size"]
    return [(token + 1) % size if at in places else token for at, token in enumerate(tokens)]


def _largest(a: Any, b: Any) -> float:
    return float(np.max(np.abs(a - b)))

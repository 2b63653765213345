"""The only place where floats are compared.

An array is compared with an array of the same name and the same shape. A number that is not finite, on either side,
is a failure; nothing compared is a failure; shapes are equal and never broadcast. ``rounding`` allows each array 2^12
units of roundoff (u = 2^-53) of its own largest magnitude: 4.5e-13 of it.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.claims import Bound
from harness.results import Worst

ROUNDING = 2.0**12 * 2.0**-53
DIGITS = 40
NOT_FINITE = ("nan", "inf", "-inf")
Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The outcome of one relation: how many numbers were compared, how far off the worst is, what was allowed.

    `observed` and `allowed` are in the unit of the bound: relative to the array's largest magnitude, or absolute.
    """

    passed: bool
    compared: int = 0
    differing: int = 0
    observed: float = float("inf")
    allowed: float = 0.0
    worst: Worst | None = None
    message: str = ""


def equals(observed: Arrays, expected: Arrays, bound: Bound, exact_zeros: tuple[str, ...] = ()) -> Comparison:
    """Each array within the bound of the expected one; arrays named in exact_zeros have their rows of zeros exact."""
    if observed.keys() != expected.keys():
        odd = ", ".join(sorted(observed.keys() ^ expected.keys()))
        return Comparison(False, message=f"the arrays differ in name: {odd}")
    allowed = {"rounding": ROUNDING, "exactly": 0.0}.get(bound.kind, bound.value)
    compared = differing = 0
    worst, largest = None, -1.0
    for name in expected:
        a, b = _array(observed[name]), _array(expected[name])
        if a is None or b is None or a.shape != b.shape:
            return Comparison(False, differing=1, allowed=allowed, worst=_wrong_shape(name, a, b))
        if not a.size:
            continue
        finite = np.isfinite(a) & np.isfinite(b)
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.where(finite, np.abs(a - b), np.inf)
            scale = (
                1.0 if bound.kind in ("absolute", "exactly") else float(np.max(np.abs(b), where=finite, initial=0.0))
            )
            error = np.divide(off, scale, out=np.where(off > 0, np.inf, 0.0), where=scale > 0)
        exact = np.zeros(a.shape, dtype=bool)
        if name in exact_zeros and b.ndim == 2:
            exact[~b.any(axis=1)] = True
            error = np.where(exact, np.where(a == 0, 0.0, np.inf), error)
        compared += a.size
        differing += int(np.sum(~(error <= allowed)))
        at = np.unravel_index(int(np.argmax(error)), error.shape)
        if float(error[at]) > largest:
            largest = float(error[at])
            worst = _worst(name, at, a, b, off, 0.0 if exact[at] else allowed * scale)
    if not compared:
        return Comparison(False, message="nothing was compared", allowed=allowed)
    return Comparison(not differing and largest <= allowed, compared, differing, largest, allowed, worst)


def differs(observed: Arrays, other: Arrays, at_least: float) -> Comparison:
    """The arrays are those of the other side in name and shape, finite, and somewhere apart by at_least."""
    with_zero = equals(observed, other, Bound(kind="absolute", value=0.0, because=""))
    if with_zero.worst is None or not np.isfinite(with_zero.observed):
        is_shape = with_zero.worst is not None and isinstance(with_zero.worst.observed, str)
        message = with_zero.message or ("the shapes differ" if is_shape else "not finite")
        return Comparison(False, with_zero.compared, allowed=at_least, worst=with_zero.worst, message=message)
    apart = with_zero.observed
    worst = with_zero.worst.model_copy(update={"allowed": at_least})
    return Comparison(apart >= at_least, with_zero.compared, 0, apart, at_least, worst)


def at_most(observed: Arrays, limit: float) -> Comparison:
    """Every number at most the limit."""
    return _limited(observed, limit, lambda array: array - limit)


def at_least(observed: Arrays, limit: float) -> Comparison:
    """Every number at least the limit."""
    return _limited(observed, limit, lambda array: limit - array)


def _limited(observed: Arrays, limit: float, excess: Callable[[Any], Any]) -> Comparison:
    compared = differing = 0
    worst, largest = None, -np.inf
    for name, nested in observed.items():
        array = _array(nested)
        if array is None:
            return Comparison(False, message=f"{name} is not an array of numbers", allowed=limit)
        if not array.size:
            continue
        beyond = np.where(np.isfinite(array), excess(np.where(np.isfinite(array), array, 0.0)), np.inf)
        compared += array.size
        differing += int(np.sum(~(beyond <= 0)))
        at = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
        if float(beyond[at]) > largest:
            largest = float(beyond[at])
            worst = _worst(name, at, array, np.full(array.shape, limit), np.maximum(beyond, 0.0), limit)
    if worst is None:
        return Comparison(False, message="nothing was compared", allowed=limit)
    extreme = float(worst.observed)
    return Comparison(not differing, compared, differing, extreme, limit, worst)


def same_values(observed: Arrays, expected: Arrays) -> Comparison:
    """Plain values, such as names and shapes: equal or not."""
    names = observed.keys() | expected.keys()
    if not names:
        return Comparison(False, message="nothing was compared")
    odd = sorted(
        name for name in names if name not in observed or name not in expected or observed[name] != expected[name]
    )
    if not odd:
        return Comparison(True, len(names), 0, 0.0, 0.0)
    name = odd[0]
    worst = Worst(
        array=name,
        index=[],
        observed=str(observed.get(name, "absent")),
        expected=str(expected.get(name, "absent")),
        off_by=float("inf"),
        allowed=0.0,
    )
    return Comparison(False, len(names), len(odd), float("inf"), 0.0, worst)


def agree_in_digits(observed: Any, expected: Any, scale: Any, num: Any) -> tuple[bool, float]:
    """Whether two numbers of 50 digits agree to 40 of the scale's; and their distance in units of the scale.

    `num` is the mpmath context of both. A number that is not finite, or not real, agrees with nothing.
    """
    if not (num.isfinite(observed) and num.isfinite(expected)) or num.im(observed) or num.im(expected):
        return False, float("inf")
    distance = abs(observed - expected)
    relative = distance / scale if scale else distance
    return bool(relative <= num.mpf(10) ** -DIGITS), float(relative)


def digits_of(error: float) -> int:
    """How many decimal digits agree at a relative error; at most the 50 that are computed."""
    return 50 if error <= 0 else max(0, min(50, int(-np.log10(error))))


def wrong_answers(expected: Arrays, seed: int) -> dict[str, Arrays]:
    """Answers that no check may accept, by name: zeros, a constant, a shuffled one, a NaN, another shape.

    The first three are left out where no array has two distinct values; each replaces one array and keeps the others.
    """
    answers: dict[str, Arrays] = {}
    for name, nested in expected.items():
        array = _array(nested)
        if array is None or not array.size:
            continue
        flat = array.ravel()
        answers.setdefault(
            "not a number", {**expected, name: np.where(np.arange(flat.size) == 0, np.nan, flat).reshape(array.shape)}
        )
        answers.setdefault("wrong shape", {**expected, name: np.append(flat, 0.0)})
        if np.unique(flat).size >= 2:
            shuffled = flat.tolist()
            random.Random(seed).shuffle(shuffled)  # noqa: S311
            if np.array_equal(shuffled, flat):
                shuffled.reverse()
            if np.array_equal(shuffled, flat):
                shuffled = shuffled[1:] + shuffled[:1]
            answers[f"zeros for {name}"] = {**expected, name: np.zeros_like(array)}
            answers[f"a constant for {name}"] = {**expected, name: np.full_like(array, flat.mean())}
            answers[f"{name} shuffled"] = {**expected, name: np.reshape(shuffled, array.shape)}
    return answers


def wrong_values(expected: Arrays) -> dict[str, Arrays]:
    """The same for plain values: something else in the place of each, and nothing at all."""
    answers: dict[str, Arrays] = {f"another {name}": {**expected, name: "something else"} for name in expected}
    return answers | {"nothing": {}}


def _array(nested: Any) -> Any:
    """A float64 array, or None where the nested lists are ragged or hold something else than real numbers.

    A number that is not finite may stand as its name, for JSON has no other way; None is not a number.
    """
    try:
        array = np.asarray(nested)
        if array.dtype.kind in "UO":
            items = np.array(nested, dtype=object)
            if not all(item is None or isinstance(item, (int, float)) or item in NOT_FINITE for item in items.flat):
                return None
            array = items.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def _shape(array: Any) -> str:
    if array is None:
        return "none (ragged, or not numbers)"
    return " x ".join(map(str, array.shape)) or "of one number"


def _wrong_shape(name: str, a: Any, b: Any) -> Worst:
    shapes = f"shape {_shape(a)}", f"shape {_shape(b)}"
    return Worst(array=name, index=[], observed=shapes[0], expected=shapes[1], off_by=float("inf"), allowed=0.0)


def _worst(name: str, at: Any, a: Any, b: Any, off: Any, allowed: float) -> Worst:
    return Worst(
        array=name,
        index=[int(i) for i in at],
        observed=float(a[at]),
        expected=float(b[at]),
        off_by=float(off[at]),
        allowed=allowed,
    )

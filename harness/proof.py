"""Whether two formulas are the same: first at random points in 50 digits, then by algebra.

Digits come first because a wrong formula is refuted there at once, while simplifying one may not end. That both sides
agree at random points is no proof; that their difference simplifies to 0 is one, for all inputs that satisfy the
guards.
"""

import random
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from harness import compare
from harness.compare import Arrays, Comparison
from harness.results import Worst

mp = mpmath.MPContext()
mp.dps = 50
POINTS, TRIES, LONGEST, HIGHEST = 4, 500, 600, 64

_KINDS: dict[str, str] = {}


def symbol(name: str, assumptions: Mapping[str, str]) -> Any:
    """A SymPy symbol for an input: real, or positive, a fraction, or a count, by the start of its name."""
    import sympy  # noqa: PLC0415 - half a second, for one reading

    kind = next((kind for start, kind in assumptions.items() if name.startswith(start)), "real")
    _KINDS[name] = kind
    if kind == "count":
        return sympy.Symbol(name, integer=True, nonnegative=True)
    return sympy.Symbol(name, positive=True) if kind != "real" else sympy.Symbol(name, real=True)


def rational(fraction: Fraction) -> Any:
    """A fraction in 50 digits."""
    return mp.mpf(fraction.numerator) / fraction.denominator


def compare_digits(observed: Arrays, expected: Arrays) -> Comparison:
    """Arrays of 50-digit numbers, each within 1e-40 of the expected array's largest magnitude."""
    return _compare(observed, expected, mp, "")


def compare_symbols(observed: Arrays, expected: Arrays, conditions: list[Any], seed: int) -> tuple[Comparison, str]:
    """Arrays of expressions; the comparison, and what it could not decide (empty where all of it is proved)."""
    pairs = _pairs(observed, expected)
    if isinstance(pairs, str):
        return Comparison(False, message=pairs), ""
    unknowns = sorted({s for _, _, a, b in pairs for s in _free(a) | _free(b)}, key=str)
    points = list(_random_points(unknowns, conditions, random.Random(seed)))  # noqa: S311
    largest = 0.0
    for point in points:
        values = [{name: _at(nested, point) for name, nested in side.items()} for side in (observed, expected)]
        where = ", ".join(f"{name} = {value}" for name, value in point.items())
        found = _compare(values[0], values[1], mp, where)
        if not found.passed:
            return found, ""
        largest = max(largest, found.observed)
    if not points:
        return Comparison(True, len(pairs)), "no random point satisfies the comparisons on the path"
    undecided = [f"{name}{list(index)}" for name, index, a, b in pairs if not _is_zero(a - b)]
    worst = Worst(array=pairs[0][0], index=list(pairs[0][1]), observed="0", expected="0", off_by=0.0, allowed=0.0)
    message = f"agrees in digits, but {', '.join(undecided[:3])} could not be simplified to 0" if undecided else ""
    return Comparison(True, len(pairs), 0, 0.0 if not undecided else largest, 0.0, worst), message


def _compare(observed: Arrays, expected: Arrays, num: Any, where: str) -> Comparison:
    pairs = _pairs(observed, expected)
    if isinstance(pairs, str):
        return Comparison(False, message=pairs)
    scales: dict[str, Any] = {}
    for name, _, _, b in pairs:
        scales[name] = max(scales.get(name, num.mpf(0)), abs(b)) if num.isfinite(b) else num.mpf(1)
    worst, largest, differing = None, -1.0, 0
    for name, index, a, b in pairs:
        agrees, error = compare.agree_in_digits(a, b, scales[name], num)
        differing += not agrees
        if error > largest:
            largest = error
            allowed = float(scales[name]) * 10.0**-compare.DIGITS
            shown = [num.nstr(x, 17) for x in (a, b)]
            off = float(abs(a - b)) if num.isfinite(a - b) else float("inf")
            worst = Worst(
                array=name,
                index=list(index),
                observed=shown[0],
                expected=shown[1],
                off_by=off,
                allowed=allowed,
                case=where,
            )
    allowed = 10.0**-compare.DIGITS
    return Comparison(not differing, len(pairs), differing, largest, allowed, worst)


def _pairs(observed: Arrays, expected: Arrays) -> list[tuple[str, tuple[int, ...], Any, Any]] | str:
    """Name, index and both values of every element; or why they cannot be paired."""
    if observed.keys() != expected.keys():
        return f"the arrays differ in name: {', '.join(sorted(observed.keys() ^ expected.keys()))}"
    pairs = []
    for name in expected:
        a, b = dict(_leaves(observed[name])), dict(_leaves(expected[name]))
        if a.keys() != b.keys():
            return f"{name} has {len(a)} elements in its shape, expected {len(b)}"
        pairs += [(name, index, a[index], b[index]) for index in b]
    return pairs or "nothing was compared"


def _leaves(nested: Any, index: tuple[int, ...] = ()) -> Iterable[tuple[tuple[int, ...], Any]]:
    if isinstance(nested, (list, tuple)):
        for i, item in enumerate(nested):
            yield from _leaves(item, (*index, i))
    else:
        yield index, nested


def _free(expression: Any) -> set[Any]:
    return set(getattr(expression, "free_symbols", ()))


def _random_points(unknowns: list[Any], conditions: list[Any], stream: random.Random) -> Iterable[dict[Any, Any]]:
    """Rational values for the symbols at which the conditions hold; every other try turns the signs of the last."""
    import sympy  # noqa: PLC0415

    signs = dict.fromkeys(unknowns, 1)

    def draw(unknown: Any) -> Any:
        kind = _KINDS.get(str(unknown), "real")
        if kind == "count":
            return sympy.Integer(stream.randrange(40))
        if kind == "fraction":
            return sympy.Rational(stream.randrange(1, 100), 101)
        numerator = stream.randrange(1, 400)
        return sympy.Rational(numerator if kind == "positive" else signs[unknown] * numerator, 101)

    found = 0
    for number in range(TRIES):
        signs = {u: -sign if number % 2 else stream.choice((-1, 1)) for u, sign in signs.items()}
        point = {unknown: draw(unknown) for unknown in unknowns}
        if all(condition.subs(point) == sympy.true for condition in conditions):
            yield point
            found += 1
        if found == POINTS:
            return


def _at(nested: Any, point: dict[Any, Any]) -> Any:
    """Expressions at a point, in 50 digits."""
    if isinstance(nested, (list, tuple)):
        return [_at(item, point) for item in nested]
    if not hasattr(nested, "xreplace"):
        return mp.mpf(nested)
    digits = mp.dps + 10
    floats = {name: value if value.is_Integer else value.evalf(digits) for name, value in point.items()}
    real, imaginary = nested.xreplace(floats).evalf(digits).as_real_imag()
    if not (real.is_Float or real.is_Rational) or imaginary != 0:
        return mp.nan
    return mp.mpf(str(real))


def _is_zero(difference: Any) -> bool:
    """Whether algebra brings an expression to 0, the cheapest way first."""
    import sympy  # noqa: PLC0415

    if difference == 0:
        return True
    steps = (sympy.expand, lambda e: sympy.cancel(sympy.together(e)), sympy.powsimp, sympy.simplify)
    for step in steps:
        if difference.count_ops() > LONGEST or _grows(difference):
            return False
        difference = step(difference)
        if difference == 0:
            return True
    return False


def _grows(expression: Any) -> bool:
    """Whether a power is so high that expanding it would not end."""
    import sympy  # noqa: PLC0415

    return any(p.exp.is_Integer and abs(p.exp) > HIGHEST for p in expression.atoms(sympy.Pow))

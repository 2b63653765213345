"""Proofs: equal formulas in other words are proved, near misses refuted at a point, and the rest is left undecided."""

import math
import signal

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import proof
from harness.proof import compare_digits, compare_symbols, mp, rational, symbol

X = [symbol(f"x[{i}]", {}) for i in range(8)]
P = [symbol(f"p[{i}]", {"p": "positive"}) for i in range(4)]
B, T = symbol("beta1", {"beta": "fraction"}), symbol("step", {"step": "count"})
EPS = sympy.Rational(1, 100000)
SEEDS = range(8)


def mean_square(x):
    return sum(xi * xi for xi in x) / len(x)


def rms_norm(x, eps=EPS):
    return [xi * (mean_square(x) + eps) ** sympy.Rational(-1, 2) for xi in x]


def softmax(x, shift=0):
    total = sum(sympy.exp(xi - shift) for xi in x)
    return [sympy.exp(xi - shift) / total for xi in x]


def both(observed, expected, conditions=(), seed=0):
    return compare_symbols({"y": observed}, {"y": expected}, list(conditions), seed)


# --- proved -----------------------------------------------------------------------------------------------------------

x, y, z = X[:3]
EQUAL = {
    "the same": ([x], [x]),
    "a sum in another order": ([sum(X)], [sum(reversed(X))]),
    "factored": ([(x + y) * (x - y), x * (y + z)], [x**2 - y**2, x * y + x * z]),
    "a product": ([sympy.prod(xi + 1 for xi in X[:5])], [sympy.expand(sympy.prod(xi + 1 for xi in X[:5]))]),
    "a common denominator": ([1 / P[0] + 1 / P[1]], [(P[0] + P[1]) / (P[0] * P[1])]),
    "a norm with a root": (rms_norm(X), [xi / sympy.sqrt(mean_square(X) + EPS) for xi in X]),
    "a norm of a scaled vector": (rms_norm([P[0] * xi for xi in X[:3]], 0), rms_norm(X[:3], 0)),
    "a softmax without its maximum": (softmax(X[:4], X[2]), softmax(X[:4])),
    "powers of a fraction at a count": ([B**T * B], [B ** (T + 1)]),
    "trigonometry": ([sympy.sin(x) ** 2 + sympy.cos(x) ** 2], [sympy.Integer(1)]),
    "numbers alone": ([sympy.Rational(1, 3) + sympy.Rational(1, 6)], [sympy.Rational(1, 2)]),
    "in rows": ([[x + y, y], [z, x]], [[y + x, y], [z, x]]),
}


@pytest.mark.parametrize(("observed", "expected"), EQUAL.values(), ids=EQUAL)
def test_equal_formulas_are_proved(observed, expected):
    for sides in ((observed, expected), (expected, observed)):
        found, undecided = both(*sides)
        assert (found.passed, undecided, found.message) == (True, "", "")
        assert (found.differing, found.observed, found.compared) == (0, 0.0, len(sympy.flatten(expected)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(-9, 9), min_size=3, max_size=6), st.permutations(range(6)), st.integers(0, 99))
def test_a_polynomial_in_any_order_is_proved_and_one_coefficient_off_is_refuted(numbers, order, seed):
    terms = [number * x**i * y for i, number in enumerate(numbers)]
    shuffled = [terms[i] for i in order if i < len(terms)]
    horner = sympy.Integer(0)
    for number in reversed(numbers):
        horner = horner * x + number
    observed = {"y": [sum(shuffled), y * horner]}
    assert compare_symbols(observed, {"y": [sum(terms), sum(terms)]}, [], seed)[1] == ""
    found, undecided = compare_symbols(observed, {"y": [sum(terms), sum(terms) + x * y]}, [], seed)
    assert (found.passed, found.differing, undecided) == (False, 1, "")


# --- refuted ----------------------------------------------------------------------------------------------------------

NEAR_MISSES = {
    "another eps": (rms_norm(X, EPS), rms_norm(X, EPS / 10)),
    "no eps": (rms_norm(X, 0), rms_norm(X)),
    "one in 10^39": ([x * (1 + sympy.Rational(1, 10**39))], [x]),
    "the last of many": ([*X[:7], X[7] + sympy.Rational(1, 10**30)], X),
    "another sign": ([x], [-x]),
    "rows and columns exchanged": ([[x, y], [z, x]], [[x, z], [y, x]]),
    "a shifted softmax whose sum is not": ([e * 2 for e in softmax(X[:3])], softmax(X[:3])),
    "a step that begins late": ([1 - B ** (T + 2)], [1 - B ** (T + 1)]),
    "zero": ([sympy.Integer(0)], [x]),
    "a constant": ([sympy.Rational(1, 2)], [x * x]),
    "numbers alone": ([sympy.Rational(1, 3)], [sympy.Rational(3333333333, 10**10)]),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("observed", "expected"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_are_refuted_in_digits_and_algebra_is_not_asked(observed, expected, seed, monkeypatch):
    monkeypatch.setattr(proof, "_is_zero", lambda difference: pytest.fail(f"asked to simplify {difference}"))
    found, undecided = both(observed, expected, seed=seed)
    assert (found.passed, undecided) == (False, "")
    assert found.differing >= 1
    assert found.observed > 1e-40


def test_what_is_wrong_for_one_sign_is_refuted():
    assert not any(both([x], [sympy.Abs(x)], seed=seed)[0].passed for seed in SEEDS)


def test_the_point_at_which_a_formula_is_refuted_is_shown():
    found, _ = both([x * P[0], y * y], [x * P[0], y])
    assert (found.compared, found.differing) == (2, 1)
    assert found.worst is not None
    assert (found.worst.array, found.worst.index) == ("y", [1])
    point = dict(part.split(" = ") for part in found.worst.case.split(", "))
    assert point.keys() == {"p[0]", "x[0]", "x[1]"}
    at = float(sympy.Rational(point["x[1]"]))
    assert float(found.worst.observed) == pytest.approx(at * at)
    assert float(found.worst.expected) == pytest.approx(at)
    assert found.worst.off_by == pytest.approx(abs(at * at - at))
    assert both([x], [y])[0] == both([x], [y])[0]


@pytest.mark.parametrize(
    ("observed", "expected", "message"),
    [
        ({}, {}, "nothing was compared"),
        ({"y": []}, {"y": []}, "nothing was compared"),
        ({"y": [x]}, {"z": [x]}, "the arrays differ in name: y, z"),
        ({"y": [x], "z": [x]}, {"y": [x]}, "the arrays differ in name: z"),
        ({"y": [x, x]}, {"y": [x]}, "y has 2 elements in its shape, expected 1"),
        ({"y": x}, {"y": [x]}, "y has 1 elements in its shape, expected 1"),
        ({"y": [[x, x]]}, {"y": [[x], [x]]}, "y has 2 elements in its shape, expected 2"),
        ({"y": [x]}, {"y": []}, "y has 1 elements in its shape, expected 0"),
    ],
)
def test_other_names_and_shapes_and_nothing_at_all_are_refused(observed, expected, message):
    found, undecided = compare_symbols(observed, expected, [], 0)
    assert (found.passed, found.compared, found.message, undecided) == (False, 0, message, "")
    assert not compare_digits(observed and {"y": [mp.mpf(1)], "w": []}, expected and {"y": [mp.mpf(1)]}).passed


@pytest.mark.parametrize(
    "formula",
    [sympy.nan, sympy.oo, -sympy.oo, sympy.zoo, sympy.oo * x, sympy.I, sympy.I * x, sympy.zoo * x, sympy.log(-P[0])],
)
def test_what_is_not_finite_or_not_real_is_not_even_equal_to_itself(formula):
    assert not both([x, formula], [x, formula])[0].passed
    assert not both([formula], [x])[0].passed
    assert not both([x], [formula])[0].passed


def test_what_is_real_on_the_path_alone_is_equal_there_alone():
    roots = [sympy.sqrt(xi) for xi in X[:4]]
    assert not both(roots, roots)[0].passed
    found, undecided = both(roots, roots, [xi > 0 for xi in X[:4]])
    assert (found.passed, undecided) == (True, "")


HUGE = "a huge power of a fraction is computed exactly, and nothing ends it"


@pytest.mark.parametrize(
    ("formula", "seconds"),
    [
        (sympy.exp(sympy.exp(100 * x)), 10.0),
        pytest.param(x ** sympy.Integer(10**6), 1.5),
    ],
)
def test_a_formula_that_grows_beyond_all_bounds_does_not_hang(formula, seconds):
    def too_long(*_arguments):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        assert not both([formula], [x])[0].passed
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- undecided --------------------------------------------------------------------------------------------------------

UNDECIDED = {
    "too long to be simplified": ([sympy.prod(xi + 1 for xi in X)], [sympy.expand(sympy.prod(xi + 1 for xi in X))]),
    "a root in a root": ([sympy.sqrt(P[0] + 1 + 2 * sympy.sqrt(P[0]))], [sympy.sqrt(P[0]) + 1]),
    "apart by less than is looked at": ([x * (1 + sympy.Rational(1, 10**45))], [x]),
}


@pytest.mark.parametrize(("observed", "expected"), UNDECIDED.values(), ids=UNDECIDED)
def test_what_agrees_in_digits_alone_is_undecided_rather_than_proved(observed, expected):
    found, undecided = both([x, *observed], [x, *expected])
    assert (found.passed, found.differing) == (True, 0)
    assert undecided == "agrees in digits, but y[1] could not be simplified to 0"


def test_a_simplification_that_fails_proves_nothing(monkeypatch):
    monkeypatch.setattr(proof, "_is_zero", lambda _difference: False)
    assert both(X[:4], X[:4])[1] == "agrees in digits, but y[0], y[1], y[2] could not be simplified to 0"


@pytest.mark.parametrize("conditions", [[x > 0, x < 0], [sympy.Eq(x, 5)], [sympy.false], [x > 99]])
def test_a_path_on_which_no_point_was_found_is_undecided(conditions):
    found, undecided = both([x], [y], conditions)
    assert (found.passed, undecided) == (True, "no random point satisfies the comparisons on the path")


# --- the path ---------------------------------------------------------------------------------------------------------

RELU = sympy.Max(0, x)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("observed", "expected", "conditions", "passed"),
    [
        (x, RELU, [x > 0], True),
        (sympy.Integer(0), RELU, [x <= 0], True),
        (x, RELU, [x <= 0], False),
        (sympy.Integer(0), RELU, [x > 0], False),
        (-x, sympy.Abs(x), [x < 0], True),
        (-x, sympy.Abs(x), [x > 0], False),
        (x, sympy.Max(x, y), [x >= y], True),
        (x, sympy.Max(x, y), [x < y], False),
        (x, sympy.Max(x, y, z), [x > y, x > z], True),
        (x, sympy.Max(x, y, z), [x > y, x < z], False),
        (x * x, sympy.Abs(x * y), [x > y * y], False),
    ],
)
def test_points_are_taken_on_the_path(observed, expected, conditions, passed, seed):
    assert both([observed], [expected], conditions, seed)[0].passed == passed


@pytest.mark.parametrize(
    ("unknown", "holds"),
    [
        (P[0], lambda value: value > 0),
        (B, lambda value: 0 < value < 1),
        (T, lambda value: value >= 0 and value == int(value)),
        (x, lambda value: value != 0),
    ],
)
def test_points_are_of_the_symbols_kind(unknown, holds):
    for seed in SEEDS:
        worst = both([unknown], [unknown + 1], seed=seed)[0].worst
        assert worst is not None
        assert holds(sympy.Rational(worst.case.split(" = ")[1]))


# --- digits -----------------------------------------------------------------------------------------------------------

ONE = mp.mpf(1)


def tenth(power):
    return mp.mpf(10) ** -power


@pytest.mark.parametrize(
    ("observed", "expected", "passed"),
    [
        ([ONE], [ONE], True),
        ([ONE + tenth(40) * 0.999], [ONE], True),
        ([ONE + tenth(40) * 1.001], [ONE], False),
        ([ONE, 10**9 * ONE + 10**9 * tenth(40) * 1.001], [ONE, 10**9 * ONE], False),
        ([ONE + tenth(32), 10**9 * ONE], [ONE, 10**9 * ONE], True),
        ([tenth(40) * 0.999], [mp.mpf(0)], True),
        ([tenth(39)], [mp.mpf(0)], False),
        ([mp.mpf(0.1)], [ONE / 10], False),
        ([-ONE], [ONE], False),
        ([mp.nan], [mp.nan], False),
        ([mp.nan], [ONE], False),
        ([ONE], [mp.nan], False),
        ([mp.inf], [mp.inf], False),
        ([ONE], [mp.inf], False),
        ([mp.mpc(1, 1)], [mp.mpc(1, 1)], False),
        ([mp.mpc(1, tenth(45))], [ONE], False),
        ([ONE, ONE], [ONE], False),
        ([], [], False),
    ],
)
def test_digits_agree_to_forty_of_the_arrays_largest(observed, expected, passed):
    found = compare_digits({"x": [ONE], "y": observed}, {"x": [ONE], "y": expected})
    if expected:
        assert found.passed == passed
    assert compare_digits({"y": observed}, {"y": expected}).passed == passed


def test_the_worst_in_digits_is_found_with_its_place():
    expected = {"a": [[ONE, 2 * ONE], [3 * ONE, 4 * ONE]], "b": [ONE / 1000]}
    observed = {"a": [[ONE, 2 * ONE], [3 * ONE + tenth(20), 4 * ONE]], "b": [ONE / 1000 + tenth(24)]}
    found = compare_digits(observed, expected)
    assert (found.passed, found.compared, found.differing) == (False, 5, 2)
    assert found.worst is not None
    assert (found.worst.array, found.worst.index) == ("a", [1, 0])
    assert found.observed == pytest.approx(0.25e-20)
    assert found.worst.off_by == pytest.approx(1e-20)
    assert found.worst.allowed == pytest.approx(4e-40)
    infinite = compare_digits({"b": [mp.inf]}, {"b": [ONE]})
    assert infinite.worst is not None
    assert (infinite.observed, infinite.worst.off_by) == (math.inf, math.inf)


def test_fractions_have_fifty_digits():
    third = rational(sympy.Rational(1, 3))
    assert abs(3 * third - 1) <= tenth(49)
    assert mp.dps == 50

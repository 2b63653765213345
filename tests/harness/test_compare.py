"""The comparisons: above all that they refuse what is wrong, and say rightly what is worst about it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import compare
from harness.claims import Bound
from harness.compare import ROUNDING, at_least, at_most, differs, digits_of, equals, same_values

INF, NAN = math.inf, math.nan
BOUNDS = {
    name: Bound(kind=name, value=value)
    for name, value in {"rounding": 0.0, "exactly": 0.0, "relative": 0.25, "absolute": 0.25}.items()
}
ROUND, EXACT, RELATIVE, ABSOLUTE = BOUNDS.values()
EVERY_BOUND = pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
THOROUGH = settings(max_examples=150, deadline=None, derandomize=True)


def numbers_in(shape):
    """Whole hundredths: two of them that differ at all differ by far more than rounding."""
    lists = st.lists(st.integers(-9999, 9999), min_size=math.prod(shape), max_size=math.prod(shape))
    return lists.map(lambda whole: (np.array(whole, dtype=np.float64) / 100).reshape(shape))


ARRAYS = st.lists(st.integers(1, 4), max_size=3).flatmap(numbers_in)
VARIED = ARRAYS.filter(lambda array: np.unique(array).size > 1)


# --- equals: what is refused ------------------------------------------------------------------------------------------


NOT_FINITE = {
    "NaN on the left": ([1.0, NAN], [1.0, 2.0]),
    "NaN on the right": ([1.0, 2.0], [1.0, NAN]),
    "NaN on both": ([1.0, NAN], [1.0, NAN]),
    "infinity on the left": ([1.0, INF], [1.0, 2.0]),
    "minus infinity on the left": ([1.0, -INF], [1.0, 2.0]),
    "a NaN by its name, as JSON carries it": ([1.0, "nan"], [1.0, 2.0]),
    "an infinity by its name": ([1.0, "inf"], [1.0, 2.0]),
    "None for a number": ([1.0, None], [1.0, 2.0]),
    "a difference that overflows": ([1e308, 1e308], [1e308, -1e308]),
}


@EVERY_BOUND
@pytest.mark.parametrize(("observed", "expected"), NOT_FINITE.values(), ids=NOT_FINITE)
def test_a_number_that_is_not_finite_is_refused_and_is_the_worst(observed, expected, bound):
    found = equals({"y": observed}, {"y": expected}, bound)
    assert (found.passed, found.compared, found.differing, found.observed) == (False, 2, 1, INF)
    assert found.worst is not None
    assert (found.worst.array, found.worst.index, found.worst.off_by) == ("y", [1], INF)


@EVERY_BOUND
def test_an_infinity_on_the_right_is_never_accepted(bound):
    with np.errstate(all="ignore"):
        for observed in ([1.0, 2.0], [1.0, INF], [1.0, -INF]):
            assert not equals({"y": observed}, {"y": [1.0, INF]}, bound).passed


def test_an_infinity_on_the_right_is_the_worst():
    found = equals({"y": [1.0, INF]}, {"y": [1.0, INF]}, ROUND)
    assert (found.observed, found.worst is not None) == (INF, True)


def test_an_error_too_large_for_a_float_is_infinite_and_nothing_is_printed():
    assert equals({"y": [1e200]}, {"y": [1e-200]}, ROUND).observed == INF


SHAPES = {
    "a number for a vector": (1.0, [1.0]),
    "a vector for a number": ([1.0], 1.0),
    "one element that would broadcast": ([1.0], [1.0, 1.0]),
    "a row that would broadcast": ([1.0, 2.0], [[1.0, 2.0], [1.0, 2.0]]),
    "a column that would broadcast": ([[1.0], [1.0]], [[1.0, 1.0], [1.0, 1.0]]),
    "one element more": ([1.0, 0.0], [1.0]),
    "nothing": ([], [1.0]),
    "something for nothing": ([1.0], []),
    "ragged rows": ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0, 4.0]]),
    "ragged rows on both": ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0]]),
    "a word": (["one"], [1.0]),
    "text": ("abc", [1.0]),
    "a complex number": ([1.0 + 0.0j], [1.0]),
    "None": (None, [1.0]),
}


@EVERY_BOUND
@pytest.mark.parametrize(("observed", "expected"), SHAPES.values(), ids=SHAPES)
def test_another_shape_is_refused_before_any_number_is_compared(observed, expected, bound):
    found = equals({"x": [1.0], "y": observed}, {"x": [1.0], "y": expected}, bound)
    assert (found.passed, found.compared, found.differing, found.observed) == (False, 0, 1, INF)
    assert found.worst is not None
    assert found.worst.array == "y"
    assert str(found.worst.observed).startswith("shape ")
    assert str(found.worst.expected).startswith("shape ")


def test_both_shapes_are_shown():
    worst = equals({"y": 1.0}, {"y": [[1.0, 2.0]]}, ROUND).worst
    assert worst is not None
    assert (worst.observed, worst.expected) == ("shape of one number", "shape 1 x 2")


TEXT = "text that reads as a number is taken for the number"


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(["1.0"]),
        pytest.param([b"1"]),
        pytest.param([10**400]),
        pytest.param(np.array([1.0 + 2.0j])),
    ],
)
def test_what_is_no_float_is_refused(observed):
    assert not equals({"y": observed}, {"y": [1.0]}, ROUND).passed


@EVERY_BOUND
@pytest.mark.parametrize(
    ("observed", "expected", "message"),
    [
        ({}, {"y": [1.0]}, "the arrays differ in name: y"),
        ({"y": [1.0]}, {}, "the arrays differ in name: y"),
        ({"y": [1.0], "z": [1.0], "a": []}, {"y": [1.0]}, "the arrays differ in name: a, z"),
        ({"Y": [1.0]}, {"y": [1.0]}, "the arrays differ in name: Y, y"),
        ({}, {}, "nothing was compared"),
        ({"y": [[], []], "z": []}, {"y": [[], []], "z": []}, "nothing was compared"),
    ],
)
def test_missing_and_extra_arrays_and_nothing_at_all_are_refused(observed, expected, message, bound):
    found = equals(observed, expected, bound)
    assert (found.passed, found.compared, found.message, found.worst) == (False, 0, message, None)


# --- equals: where the line runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("magnitude", [1e-300, 1e-8, 1.0, 3.0, 1e8, 1e300])
@pytest.mark.parametrize(("factor", "passed"), [(0.999, True), (1.001, False)])
def test_rounding_is_2_to_the_12_units_of_the_largest_magnitude(magnitude, factor, passed):
    assert ROUNDING == 2**-41
    expected = np.array([-magnitude, magnitude / 1e9, 0.0])
    for at in range(3):
        observed = expected.copy()
        observed[at] += factor * 2**-41 * magnitude
        found = equals({"y": observed}, {"y": expected}, ROUND)
        assert (found.passed, found.differing) == (passed, not passed)
        assert found.observed == pytest.approx(factor * 2**-41, rel=1e-3)


@pytest.mark.parametrize(
    ("bound", "off", "passed"),
    [
        (RELATIVE, 1.0, True),
        (RELATIVE, math.nextafter(1.0, 2.0), False),
        (ABSOLUTE, 0.25, True),
        (ABSOLUTE, math.nextafter(0.25, 1.0), False),
        (EXACT, 0.0, True),
        pytest.param(EXACT, 5e-324, False),
    ],
)
def test_a_bound_itself_is_allowed_and_the_next_float_is_not(bound, off, passed):
    found = equals({"y": [off, 4.0]}, {"y": [0.0, 4.0]}, bound)
    assert (found.passed, found.compared, found.differing) == (passed, 2, not passed)
    assert found.worst is not None
    assert (found.worst.index, found.worst.observed, found.worst.expected, found.worst.off_by) == ([0], off, 0.0, off)


@EVERY_BOUND
def test_each_array_is_measured_by_itself(bound):
    expected = {"small": [1e-9, 2e-9], "large": [1e9]}
    assert equals(expected, expected, bound).passed
    assert equals({**expected, "small": [1e-9, 4e-9]}, expected, bound).passed == (bound is ABSOLUTE)


def test_nothing_is_allowed_where_all_that_is_expected_is_zero():
    for bound in (ROUND, RELATIVE, EXACT):
        assert equals({"y": [0.0, -0.0]}, {"y": [0.0, 0.0]}, bound).passed
        found = equals({"y": [0.0, 5e-324]}, {"y": [0.0, 0.0]}, bound)
        assert (found.passed, found.observed) == (False, 5e-324 if bound is EXACT else INF)


@THOROUGH
@given(st.dictionaries(st.sampled_from("abc"), ARRAYS, min_size=1))
def test_an_answer_equals_itself_and_every_number_counts(arrays):
    for bound in BOUNDS.values():
        found = equals({name: array.tolist() for name, array in arrays.items()}, arrays, bound)
        assert (found.passed, found.differing, found.observed) == (True, 0, 0.0)
        assert found.compared == sum(array.size for array in arrays.values())


@THOROUGH
@given(VARIED, st.data())
def test_the_worst_number_is_found_with_its_place_and_what_was_allowed(array, data):
    at = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    near = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    observed, magnitude = array.copy(), np.max(np.abs(array))
    observed[near] += 1e-3
    observed[at] += 100.0
    found = equals({"x": array, "y": observed}, {"x": array, "y": array}, ROUND)
    assert (found.passed, found.compared, found.differing) == (False, 2 * array.size, 1 + (at != near))
    assert found.observed == pytest.approx(abs(observed[at] - array[at]) / magnitude)
    worst = found.worst
    assert worst is not None
    assert (worst.array, worst.index) == ("y", list(at))
    assert (worst.observed, worst.expected) == (observed[at], array[at])
    assert worst.off_by == abs(observed[at] - array[at])
    assert (found.allowed, worst.allowed) == (2**-41, 2**-41 * magnitude)


ROWS = [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("observed", "names", "passed", "index"),
    [
        ([[1.0, 1.0], [0.0, -0.0], [0.0, 1.0]], ("w",), True, [0, 0]),
        ([[1.0, 1.0], [0.0, 1e-20], [0.0, 1.0]], ("w",), False, [1, 1]),
        ([[1.0, 1.0], [0.0, NAN], [0.0, 1.0]], ("w",), False, [1, 1]),
        ([[1.0, 1.0], [0.0, 1e-20], [0.0, 1.0]], (), True, [1, 1]),
        ([[1.0, 1.0], [0.0, 0.0], [1e-20, 1.0]], ("w",), True, [2, 0]),
    ],
)
def test_a_row_of_zeros_is_exact_where_that_is_asked(observed, names, passed, index):
    found = equals({"w": observed}, {"w": ROWS}, ROUND, names)
    assert (found.passed, found.differing) == (passed, not passed)
    assert found.worst is not None
    assert found.worst.index == index


def test_nothing_is_allowed_in_a_row_of_zeros_that_has_to_be_exact():
    worst = equals({"w": [[1.0, 1.0], [0.0, 1e-20], [0.0, 1.0]]}, {"w": ROWS}, ROUND, ("w",)).worst
    assert worst is not None
    assert (worst.off_by, worst.allowed) == (1e-20, 0.0)


# --- the other relations, and answers that no check may accept --------------------------------------------------------


@pytest.mark.parametrize(
    ("observed", "other", "passed", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], True, 0.5),
        ([1.0, 2.0], [1.0, math.nextafter(2.5, 0.0)], False, math.nextafter(2.5, 0.0) - 2.0),
        ([1.0, 2.0], [1.0, 2.0], False, 0.0),
        ([-1.0, 2.0], [1.0, 2.0], True, 2.0),
    ],
)
def test_apart_by_so_much_somewhere(observed, other, passed, apart):
    found = differs({"x": [9.0], "y": observed}, {"x": [9.0], "y": other}, 0.5)
    assert (found.passed, found.compared, found.observed, found.allowed) == (passed, 3, apart, 0.5)
    assert found.worst is not None
    assert (found.worst.off_by, found.worst.allowed) == (apart, 0.5)


@pytest.mark.parametrize(
    ("observed", "other"),
    [
        ({"y": [NAN, 1.0]}, {"y": [0.0, 9.0]}),
        ({"y": [INF, 1.0]}, {"y": [0.0, 9.0]}),
        ({"y": [0.0, 1.0]}, {"y": [INF, 9.0]}),
        ({"y": [[0.0], [1.0, 2.0]]}, {"y": [9.0]}),
        ({"y": []}, {"y": []}),
        ({}, {}),
        ({"y": [0.0]}, {"z": [9.0]}),
    ],
)
def test_what_cannot_be_compared_does_not_differ(observed, other):
    found = differs(observed, other, 0.5)
    assert not found.passed
    assert found.message


def test_another_shape_is_named_where_a_difference_is_asked_for():
    found = differs({"y": [1.0]}, {"y": [1.0, 2.0]}, 0.5)
    assert "shape" in f"{found.message} {found.worst}"


@pytest.mark.parametrize(
    ("relation", "observed", "differing", "index"),
    [
        (at_most, [1.0, 2.0], 0, [1]),
        (at_most, [1.0, math.nextafter(2.0, 3.0)], 1, [1]),
        (at_most, [3.0, 1.0, 4.0], 2, [2]),
        (at_most, [9.0, NAN], 2, [1]),
        (at_most, [1.0, -INF], 1, [1]),
        (at_most, [1.0, None], 1, [1]),
        (at_least, [3.0, 2.0], 0, [1]),
        (at_least, [3.0, math.nextafter(2.0, 1.0)], 1, [1]),
        (at_least, [1.0, 3.0, 0.0], 2, [2]),
        (at_least, [9.0, NAN], 1, [1]),
        (at_least, [9.0, INF], 1, [1]),
    ],
)
def test_every_number_is_held_against_a_limit_that_is_itself_allowed(relation, observed, differing, index):
    found = relation({"x": [2.0], "y": observed}, 2.0)
    assert (found.passed, found.compared, found.differing) == (not differing, 1 + len(observed), differing)
    assert found.worst is not None
    if differing:
        value = float("nan" if observed[index[0]] is None else observed[index[0]])
        assert (found.worst.array, found.worst.index, found.worst.expected) == ("y", index, 2.0)
        assert (found.observed, found.worst.observed) == (pytest.approx(value, nan_ok=True),) * 2
        assert found.worst.off_by == (abs(value - 2.0) if math.isfinite(value) else INF)


@pytest.mark.parametrize("relation", [at_most, at_least])
@pytest.mark.parametrize(
    ("observed", "message"),
    [
        ({}, "nothing was compared"),
        ({"y": [[], []]}, "nothing was compared"),
        ({"x": [2.0], "y": "many"}, "y is not an array of numbers"),
        ({"y": [2.0 + 0.0j]}, "y is not an array of numbers"),
    ],
)
def test_what_is_nothing_or_no_number_is_within_no_limit(relation, observed, message):
    found = relation(observed, 2.0)
    assert (found.passed, found.compared, found.message) == (False, 0, message)


def test_the_extreme_of_what_passed_is_told():
    arrays = {"x": [0.5, -3.0], "y": [[1.0], [0.25]]}
    assert (at_most(arrays, 2.0).observed, at_least(arrays, -4.0).observed) == (1.0, -3.0)


@pytest.mark.parametrize(
    ("observed", "expected", "differing"),
    [
        ({"a": [1, 2], "b": "x"}, {"a": [1, 2], "b": "x"}, 0),
        ({"a": [1, 2], "b": "x"}, {"a": [2, 1], "b": "y"}, 2),
        ({"a": 1}, {"a": "1"}, 1),
        ({"a": 1}, {"a": 1, "b": 2}, 1),
        ({"a": 1, "b": 2}, {"a": 1}, 1),
        ({"a": None}, {"a": 1}, 1),
        ({}, {"a": None}, 1),
        ({"a": NAN}, {"a": NAN}, 1),
        pytest.param({"a": None}, {}, 1),
    ],
)
def test_plain_values_are_equal_or_not(observed, expected, differing):
    found = same_values(observed, expected)
    assert (found.passed, found.differing) == (not differing, differing)
    assert found.compared == len(observed.keys() | expected.keys())
    assert (found.worst is None) == found.passed
    assert found.observed == (INF if differing else 0.0)
    assert same_values({}, {}).message == "nothing was compared"


@pytest.mark.parametrize(
    ("error", "digits"),
    [(0.0, 50), (1e-300, 50), (1e-41, 41), (9.9e-41, 40), (0.5e-16, 16), (0.9, 0), (1.0, 0), (1e9, 0), (-1.0, 50)],
)
def test_digits_that_agree_are_never_rounded_up(error, digits):
    assert digits_of(error) == digits


@THOROUGH
@given(st.dictionaries(st.sampled_from("abc"), ARRAYS, min_size=1), st.integers(0, 99))
def test_every_wrong_answer_is_truly_different_and_refused(arrays, seed):
    answers = compare.wrong_answers(arrays, seed)
    varied = [name for name, array in arrays.items() if np.unique(array).size > 1]
    three = {label for name in varied for label in (f"zeros for {name}", f"a constant for {name}", f"{name} shuffled")}
    assert answers.keys() == {"not a number", "wrong shape"} | three
    for label, wrong in answers.items():
        changed = [name for name in arrays if not np.array_equal(wrong[name], arrays[name])]
        assert (wrong.keys(), len(changed)) == (arrays.keys(), 1)
        assert changed[0] in label or label in ("not a number", "wrong shape")
        assert not any(equals(wrong, arrays, bound).passed for bound in (ROUND, EXACT))
        if label.endswith("shuffled"):
            assert sorted(np.ravel(wrong[changed[0]])) == sorted(arrays[changed[0]].ravel())
    assert answers.keys() == compare.wrong_answers(arrays, seed).keys()


def test_nothing_can_be_made_wrong_of_nothing():
    assert compare.wrong_answers({}, 0) == {}
    assert compare.wrong_answers({"y": [], "z": [[1.0], [1.0, 2.0]]}, 0) == {}


def test_every_wrong_value_is_refused():
    values = {"a": [2, 3], "b": "x", "c": None}
    answers = compare.wrong_values(values)
    assert answers.keys() == {"nothing"} | {f"another {name}" for name in values}
    assert not any(same_values(wrong, values).passed for wrong in answers.values())

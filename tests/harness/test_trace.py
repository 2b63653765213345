"""Traces: that they are the run, bit for bit, or say that they are not; and what is read from them."""

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness import inputs, proof, trace
from harness.observables import OBSERVABLES
from harness.subjects import tracing

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "harness" / "subjects" / "worker.py"
OWN = (ROOT / "microgpt" / "microgpt.py").read_text(encoding="utf-8")
PRELUDE = "import copy, math\nimport math as m\nfrom math import exp, log as ln\n"


def defect(*values, reason):
    """A row of a table that the code does not meet yet."""
    return pytest.param(*values, marks=pytest.mark.xfail(strict=True, reason=reason))


def answers(source, *requests):
    """What the worker says to each request about a source, by its own protocol."""
    load = {"id": 0, "do": "load", "name": "subject", "path": "subject.py", "source": source}
    asked = [{"id": i, "do": "observe", "subject": "subject", **request} for i, request in enumerate(requests, 1)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", WORKER, "2048"],
        input="".join(json.dumps(request) + "\n" for request in [load, *asked]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    _, loaded, *rest = map(json.loads, done.stdout.splitlines())
    assert (loaded, [answer["id"] for answer in rest]) == (
        {"id": 0, "loaded": "subject"},
        list(range(1, len(asked) + 1)),
    )
    return rest


def call(expression, number, prepare, a, b):
    """An expression in a and b, evaluated as the subject's process does it; a list of numbers."""
    namespace = {}
    exec(f"{PRELUDE}def f(a, b):\n    return [{expression}]", namespace)
    prepare(namespace)
    return namespace["f"](number("x[0]", a), number("x[1]", b))


def traced(expression, a=1.5, b=-2.0):
    """The trace of an expression, in the form in which it leaves the subject's process."""
    tape = tracing.Tape()
    y = call(expression, tape.input, lambda namespace: tracing.bring_in(namespace, tape), a, b)
    rows = {"y": [tape.index(number) for number in y]}
    return {"rows": tape.rows, "guards": tape.guards, "escapes": sorted(set(tape.escapes)), "outputs": rows}


def plain(expression, a=1.5, b=-2.0):
    return [float(y) for y in call(expression, lambda _name, number: number, lambda _namespace: None, a, b)]


def read(expression, reading="symbols"):
    return trace.read(traced(expression), "rms_norm", {"x": [1.5, -2.0]}, reading)


def replayed(found, a, b):
    """A trace replayed from other inputs."""
    values = {"x[0]": a, "x[1]": b}
    rows = [["input", row[1], values[row[1]]] if row[0] == "input" else row for row in found["rows"]]
    return trace.replay({**found, "rows": rows})["y"]


# --- the run, bit for bit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observable", "chosen"),
    [
        ("rms_norm", {"width": 16}),
        ("rms_norm", {"width": 4, "scales": 1e-8}),
        ("softmax", {"width": 16, "probe": "gaps"}),
        ("logits", {"probe": "stress", "length": 3}),
        ("logits", {"length": 2, "attention": "mask"}),
        ("gradients", {"probe": "stress", "lengths": [2]}),
        ("adam", {"steps": 3}),
        ("adam", {"steps": 2, "regime": "sparse", "start": "arbitrary", "hyperparameters": "given"}),
    ],
)
def test_a_trace_of_microgpt_replays_its_run_to_the_last_bit(observable, chosen):
    case, *_ = inputs.cases(observable, OBSERVABLES[observable].given.model_validate(chosen), 0)
    request = {"observable": observable, "inputs": case.inputs}
    run, seen = answers(OWN, {**request, "arithmetic": "float64"}, {**request, "arithmetic": "trace"})
    assert seen["trace"]["escapes"] == []
    assert json.dumps(trace.replay(seen["trace"])) == json.dumps(run["arrays"])


OPERATIONS = """a + b; a - b; a * b; a / b; 1 - a; 2 / b; 2 ** a; a ** 2; a ** -0.5; a ** b; b ** 3; -a; +b; abs(b)
a * 0.1 + 0.2; a * True; a + 0.0; a * -0.0; b * 0.0; 0.0 - a * 0; sum([a, b, 0.1]); a * 10**30; pow(a, 2); a * 3 - 3 * a
math.exp(a); m.exp(b); exp(b) + ln(a); math.log(a); m.sqrt(a); math.tanh(b); math.erf(a); math.cos(a) - math.sin(b)
math.pow(b, 3); math.pow(a, a); math.pow(2.0, 3) * a; exp(1.0) * a; math.pi * b; math.fabs(b); math.factorial(4) * a
max(a, b); min(a, b, 0); a if a > b else b; sorted([a, b])[0]; a if a == b else 7.5; a if not b else b; a or b
copy.copy(a) * b; a * float("inf"); f"{a:.3f}" and a; a, b, a, 1, 0.5, True; [a, b][a == None]"""


@pytest.mark.parametrize("expression", [part.strip() for line in OPERATIONS.splitlines() for part in line.split(";")])
def test_every_operation_is_the_plain_one_at_these_inputs_and_at_others(expression):
    found = traced(expression)
    assert found["escapes"] == []
    assert repr(trace.replay(found)["y"]) == repr(plain(expression))
    assert repr(replayed(found, 1.75, -0.3)) == repr(plain(expression, 1.75, -0.3))


ESCAPES = """float(a); int(a); round(a); [1, 2][a]; len(range(a)); math.floor(a); math.ceil(a); math.trunc(a)
math.exp2(a); math.hypot(a, b); math.fsum([a, b]); "%.1f" % a and a; float(a) * 0 + b; complex(a).real; bytes(a)[0]"""


@pytest.mark.parametrize("expression", [part.strip() for line in ESCAPES.splitlines() for part in line.split(";")])
@pytest.mark.parametrize("reading", ["symbols", "digits", "dependencies"])
def test_a_number_that_leaves_the_trace_makes_the_observation_a_skip(expression, reading):
    observation = read(expression, reading)
    assert observation.skipped.startswith("the trace is not whole: a number was turned into a plain ")
    assert (observation.arrays, observation.error) == ({}, "")


NEITHER = "it raises TypeError, though it is plain Python: neither a row nor an escape"


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("math.log(a, 2)"),
        pytest.param("math.log(8.0, 2) * a"),
        pytest.param("round(a, 1)"),
        pytest.param("a // 1"),
        pytest.param("a % 1"),
        pytest.param("divmod(a, 1)[1]"),
        pytest.param("abs(b * 0.0)"),
        pytest.param("copy.deepcopy(a) * 3, b * 7, a * 5"),
        defect("float(str(a)) + b", reason="a number that is read back from its text has left without a trace"),
    ],
)
def test_a_trace_is_the_run_or_says_that_it_is_not_whole(expression):
    found = traced(expression)
    for a, b in ((1.5, -2.0), (1.25, -0.5)):
        assert found["escapes"] or repr(replayed(found, a, b)) == repr(plain(expression, a, b))


@pytest.mark.parametrize("text", ["f'{a:.2f}'", "f'{a:>9}'", "str(a)", "repr(a)", "'{}'.format(b)", "'%s' % b"])
def test_the_text_of_a_number_is_that_of_the_float_and_no_escape(text):
    tape = tracing.Tape()
    texts = [call(text, number, lambda _namespace: None, 1.5, -2.0) for number in (tape.input, lambda _name, x: x)]
    assert texts[0] == texts[1]
    assert tape.escapes == []


def test_a_root_of_a_negative_number_is_no_number_rather_than_complex():
    tape = tracing.Tape()
    for root in (tape.input("x", -2.0) ** 0.5, -(2.0 ** tape.input("x", 0.5)) * 0 + (-2.0) ** tape.input("x", 0.5)):
        assert math.isnan(root.value)
    observation = read("(b - a) ** 0.5", "digits")
    assert not proof.compare_digits(observation.arrays, observation.arrays).passed


def test_a_replay_of_a_root_of_a_negative_number_is_no_number():
    (y,) = trace.replay(traced("(b - a) ** 0.5"))["y"]
    assert isinstance(y, float)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("a / 0", "ZeroDivisionError"),
        ("10.0 ** (300 * a)", "OverflowError"),
        ("m.sqrt(b)", "ValueError"),
    ],
)
def test_arithmetic_that_fails_in_floats_fails_in_the_trace(expression, kind):
    for run in (plain, traced):
        with pytest.raises((ArithmeticError, ValueError)) as raised:
            run(expression)
        assert raised.type.__name__ == kind


@pytest.mark.parametrize(
    "expression", ["{a: 1}[a]", "hash(a)", "len({a, b})", "a < 'x'", "None >= a", "a + 'x'", "a + 1j", "a.is_integer()"]
)
def test_what_a_number_cannot_do_is_refused(expression):
    with pytest.raises((TypeError, AttributeError)):
        traced(expression)


@pytest.mark.parametrize("answer", ["'1.5'", "None", "1j", "[a]", "object()"])
def test_what_is_no_number_has_no_row(answer):
    with pytest.raises(TypeError, match="a trace holds numbers, not"):
        traced(answer)


def test_constants_that_print_differently_have_rows_of_their_own():
    rows = traced("1, 1.0, True, 0.0, -0.0, 0, 1, -0.0")
    assert repr(trace.replay(rows)["y"]) == "[1.0, 1.0, 1.0, 0.0, -0.0, 0.0, 1.0, -0.0]"
    assert len(set(rows["outputs"]["y"])) == 6


# --- guards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "guards"),
    [
        ("a + b", []),
        ("a if a > b else b", ["x[0] > x[1] is true"]),
        ("a if 0 < b else b", ["x[1] > 0.0 is false"]),
        ("max(0.0, b)", ["x[1] > 0.0 is false"]),
        ("a if a else b", ["x[0] != 0.0 is true"]),
        ("abs(b)", ["x[1] < 0.0 is true"]),
        ("a if a * b <= -3 else b", ["a computed number <= -3.0 is true"]),
        ("a if b in (1, -2) else b", ["x[1] == 1.0 is false", "x[1] == -2.0 is true"]),
        ("a if a != None and a != 'x' else b", []),
        ("[a if b >= n else b for n in range(-3, 4)][0]", [f"an input >= {n}.0" for n in range(-3, 4)]),
    ],
)
def test_comparisons_on_the_path_are_shown(expression, guards):
    found = read(expression)
    assert (found.error, found.skipped) == ("", "")
    assert (len(found.guards), len(found.conditions)) == (len(guards), len(guards))
    if len(guards) <= 6:
        assert found.guards == read(expression, "digits").guards == read(expression, "dependencies").guards == guards
    else:
        assert found.guards == sorted(found.guards)
        assert all(line.endswith(" times") for line in found.guards)


def test_conditions_are_those_of_the_path():
    x, y = (proof.symbol(f"x[{i}]", {}) for i in range(2))
    assert read("a if a > b else b").conditions == [x > y]
    assert read("a if a <= b else b").conditions == [x > y]
    assert read("max(a * b, 0.0)").conditions == [x * y < 0]


# --- exact constants --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "fraction"),
    [
        (1e-5, Fraction(1, 100000)),
        (0.1, Fraction(1, 10)),
        (-0.044715, Fraction(-44715, 1000000)),
        (1e-8, Fraction(1, 10**8)),
        (123456.789012, Fraction(123456789012, 10**6)),
        (1e22, Fraction(10**22)),
        (1 / 12, Fraction(1, 12)),
        (-2 / 3, Fraction(-2, 3)),
        (355 / 113, Fraction(355, 113)),
        (2.0**-30, Fraction(1, 2**30)),
        (1e15 + 1, Fraction(10**15 + 1)),
        (5e-324, Fraction(5, 10**324)),
        (0.0, Fraction(0)),
        (-0.0, Fraction(0)),
    ],
)
def test_a_constant_is_the_number_that_is_meant(value, fraction):
    assert trace.exact(value) == fraction
    assert float(fraction) == value


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1 + 0.2)
@example(math.pi)
@example(2.0**-60)
@example(sys.float_info.max)
@example(sys.float_info.min / 3)
def test_the_number_that_is_meant_rounds_to_the_constant(value):
    assert float(trace.exact(value)) == value
    assert float(trace.simplest_fraction(value)) == value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_a_small_fraction_is_found_again(numerator, denominator):
    fraction = Fraction(numerator, denominator)
    assert trace.simplest_fraction(numerator / denominator) == fraction


def test_what_is_read_as_something_else_than_is_printed_is_noted():
    found = read("a * (1 / 12) + 1e-5 * b + float('inf')")
    assert found.notes == ["0.08333333333333333 is read as 1/12"]
    assert read("a * 0.1 + 1e-5").notes == []


def test_constants_are_exact_and_inputs_keep_their_binary_value():
    (y,) = trace.digits(traced("a * 0.1 + 1 / 3", 0.1))["y"]
    assert abs(y - (proof.mp.mpf(0.1) / 10 + proof.mp.mpf(1) / 3)) <= proof.mp.mpf(10) ** -49
    (y,) = read("a * 0.1 + b / 3 - 1 / 12").arrays["y"]
    x = [proof.symbol(f"x[{i}]", {}) for i in range(2)]
    assert y == x[0] / 10 + x[1] / 3 - sympy.Rational(1, 12)
    assert not y.atoms(sympy.Float)


# --- readings ---------------------------------------------------------------------------------------------------------


def logits_of(rows, outputs):
    return {"rows": rows, "guards": [], "escapes": [], "outputs": {"logits": outputs}}


def test_dependencies_are_those_of_the_rows_and_of_nothing_else():
    rows = [
        ["input", "wte[11][0]", 1.0],
        ["input", "wte[1][0]", 1.0],
        ["input", "wpe[0][0]", 1.0],
        ["input", "wpe[1][3]", 1.0],
        ["constant", 2.0],
        ["+", 0, 2],  # the first token at its position
        ["exp", 5],
        ["+", 1, 3],
        ["*", 6, 7],
        ["neg", 4],
        ["input", "lm_head[0][0]", 1.0],
    ]
    found = logits_of(rows, [[9, 10], [9, 6], [8, 4], [1, 9]])
    found["guards"] = [["<", 3, 0, True]]
    seen = trace.read(found, "dependencies", {"tokens": [11, 1, 5]}, "dependencies")
    assert seen.arrays == {
        "tokens": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
        "positions": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]],
    }
    assert seen.guards == ["wpe[1][3] < wte[11][0] is true"]


def test_dependencies_of_a_vector_are_on_every_single_element():
    names = [["input", f"x[{i}]", 1.0] for i in range(11)]
    found = {"rows": [*names, ["-", 10, 10], ["*", 11, 1]], "guards": [], "escapes": [], "outputs": {"y": [12, 0, 11]}}
    (seen,) = trace.dependencies(found, {"x": [1.0] * 11}).values()
    assert [[i for i, bit in enumerate(row) if bit] for row in seen] == [[1, 10], [0], [10]]


@pytest.mark.parametrize("reading", ["symbols", "digits"])
def test_a_trace_that_cannot_be_read_is_an_error_and_raises_nothing(reading):
    unknown = {"rows": [["input", "x[0]", 1.0], ["frobnicate", 0]], "guards": [], "escapes": [], "outputs": {"y": [1]}}
    found = trace.read(unknown, "rms_norm", {"x": [1.0]}, reading)
    assert found.error.startswith(f"the trace cannot be read in {reading}: ")
    assert (found.arithmetic, found.arrays) == (False, {})


def test_an_arithmetic_error_of_a_reading_is_known_as_one():
    zero = {"rows": [["constant", 0.0], ["/", 0, 0]], "guards": [], "escapes": [], "outputs": {"y": [1]}}
    found = trace.read(zero, "rms_norm", {"x": []}, "digits")
    assert (found.arithmetic, found.arrays) == (True, {})
    assert found.error.startswith("ZeroDivisionError in digits")


def test_assumptions_go_by_the_start_of_a_name():
    rows = [["input", name, 0.5] for name in ("v[0]", "step", "beta1", "learning_rate", "gradient[0][0]")]
    found = {"rows": rows, "guards": [], "escapes": [], "outputs": {"m": [0, 1, 2, 3, 4]}}
    v, step, beta, rate, gradient = trace.symbols(found, OBSERVABLES["adam"].symbols)[0]["m"]
    assert v.is_positive
    assert beta.is_positive
    assert rate.is_positive
    assert step.is_integer
    assert step.is_nonnegative
    assert gradient.is_real
    assert gradient.is_positive is None

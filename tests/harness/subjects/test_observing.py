"""A program seen while it runs: of this repository's microgpt what PyTorch has, of wrong copies something else."""

import math
from pathlib import Path

import numpy as np
import pytest

from harness import compare, inputs
from harness.claims import Bound
from harness.expressions import BINARY, LARGEST, POWERS, UNARY, WITH_NUMBER
from harness.observables import OBSERVABLES
from harness.subjects.papers import Papers
from harness.subjects.process import Limits, ProcessSubject, Source
from harness.subjects.reference import TorchReference
from reference.recipe import MICROGPT

OWN = (Path(__file__).resolve().parents[3] / "microgpt" / "microgpt.py").read_text(encoding="utf-8")
TORCH = TorchReference(MICROGPT)
STRESS = {"probe": "stress"}
GPT = "    token_embedding, position_embedding ="
LAST = 'return linear(x, state_dict["lm_head"])'
RELU = "x = [xi.relu() for xi in x]"
NORM = "    x = rmsnorm(x)\n    for layer"


@pytest.fixture(scope="module")
def process():
    subject = ProcessSubject(Source("subject", "subject.py", OWN), Limits())
    yield subject
    subject.close()


def drawn(observable, **given):
    """The inputs of the one case."""
    (case,) = inputs.cases(observable, OBSERVABLES[observable].given(**given), 0)
    return case.inputs


def seen(process, observable, *edits, **given):
    """What is observed of microgpt with edits, each of a text that occurs once."""
    text = OWN
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    name = f"edited {hash(edits)}" if edits else "subject"
    found = process.ask(observable, drawn(observable, **given), "float64", Source(name, "subject.py", text))()
    assert (found.error, found.skipped) == ("", "") or edits, found
    return found


def agrees(process, observable, *edits, **given):
    """Whether the observation is PyTorch's."""
    found = seen(process, observable, *edits, **given)
    if found.error or found.skipped:
        pytest.fail(f"no answer: {found.error or found.skipped}")
    expected = TORCH.ask(observable, drawn(observable, **given))().arrays
    if OBSERVABLES[observable].plain:
        return compare.same_values(found.arrays, expected).passed
    bound = Bound(kind="relative", value=1e-11) if observable == "training" else Bound(kind="rounding")
    return compare.equals(found.arrays, expected, bound).passed


# --- this repository's microgpt ---------------------------------------------------------------------------------------

GIVEN = [
    ("documents", {}),
    ("tokens", {}),
    ("expressions", {}),
    ("expressions", {"operations": 100}),
    ("training", {**STRESS, "lengths": [9, 1, 2], "steps": 4, "num_steps": 4}),
    ("training", {"lengths": [2], "steps": 1}),
    ("learning_rate", {**STRESS, "num_steps": 7}),
    ("samples", {**STRESS, "temperature": 3.0}),
    ("samples", {**STRESS, "temperature": 0.1}),
    ("generation", STRESS),
    ("generation", {}),
    ("activation", STRESS),
    ("stream_start", {**STRESS, "norm": "plain"}),
    ("stream_start", {"n_layer": 3}),
    ("head", STRESS),
]


@pytest.mark.parametrize(("observable", "given"), GIVEN)
def test_what_is_seen_of_microgpt_is_what_pytorch_has(observable, given, process):
    assert agrees(process, observable, **given)


def test_the_file_imports_nothing_and_runs_where_there_is_nothing_to_import(process):
    assert seen(process, "imports").arrays == {"beyond the standard library": []}
    expected = {"isolated": True, "without site": True, "package folders": []}
    assert seen(process, "interpreter").arrays == expected


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_norms_are_counted_by_their_place(layers, process):
    assert seen(process, "norm_calls", **STRESS, n_layer=layers).arrays == {
        "before attention": [2] + [1] * (layers - 1),
        "before perceptron": [1] * layers,
        "before head": 0,
        "in all": 2 * layers + 1,
    }


def test_nothing_is_shared_and_nothing_random(process):
    assert seen(process, "shared_parameters").arrays == {"shared": []}
    assert seen(process, "repeatability", **STRESS).arrays == {"identical": True, "random state untouched": True}


def test_the_activation_is_the_equation_to_the_last_bit(process):
    x = drawn("activation", **STRESS)["x"]
    y = seen(process, "activation", **STRESS).arrays["y"]
    assert y == [max(0.0, number) for number in x]
    paper = Papers({}, activation="relu").ask("activation", drawn("activation", **STRESS))()
    assert paper.arrays["y"] == y
    assert {0.0, 8.0} <= set(x)
    assert min(x) <= -8 + 1e-9


def test_what_is_generated_starts_from_bos_and_stops_in_three_ways(process):
    found = seen(process, "generation", **STRESS).arrays
    at_once, on_the_way, never = found["samples"]
    sizes = drawn("generation", **STRESS)["sizes"]
    assert at_once == []
    assert 0 < len(on_the_way) < len(never) == sizes["block_size"]
    assert [fed[0] for fed in found["tokens fed"]] == [sizes["vocab_size"] - 1] * 3


# --- copies that are wrong --------------------------------------------------------------------------------------------

WRONG = [
    ("imports", [("import math\n", "import math\nif False:\n    from . import parts\n")], [".parts", "."]),
    (
        "imports",
        [(GPT, f"    try:\n        import numpy.linalg\n    except ImportError:\n        pass\n{GPT}")],
        ["numpy.linalg"],
    ),
    ("imports", [("NAMES = ", 'LATER = lambda: __import__("torch")\nNAMES = ')], ["torch"]),
    (
        "imports",
        [("import math\n", "import math, importlib\nP = lambda: importlib.import_module('jax.numpy')\n")],
        ["jax.numpy"],
    ),
]


@pytest.mark.parametrize(("observable", "edits", "names"), WRONG)
def test_an_import_is_found_wherever_it_stands(observable, edits, names, process):
    (found,) = seen(process, observable, *edits).arrays["beyond the standard library"]
    assert found in names


def test_a_standard_module_is_no_dependency(process):
    edit = ("import math\n", "import math\nimport collections.abc, xml.dom.minidom\nfrom os import path\n")
    assert seen(process, "imports", edit).arrays == {"beyond the standard library": []}


@pytest.mark.parametrize(
    ("observable", "edits", "given"),
    [
        ("documents", [("    rng.shuffle(documents)\n", "")], {}),
        ("documents", [("    return documents\n", "    return documents[:-1]\n")], {}),
        ("expressions", [("float(self.data > 0)", "float(self.data >= 0)")], {}),
        ("expressions", [("child.grad += ", "child.grad = ")], {}),
        ("expressions", [("return other + -self", "return self + -other")], {}),
        ("expressions", [("return other * self**-1", "return self * other**-1")], {}),
        ("training", [("        loss.backward()\n", "")], {**STRESS, "lengths": [2]}),
        ("training", [("m_hat / (v_hat**0.5 + eps)", "m_hat / (v_hat**0.5 + 2 * eps)")], {**STRESS, "lengths": [2]}),
        ("training", [("yield step, loss.data", "yield step, loss.data * (1 + 1e-9)")], {**STRESS, "lengths": [2]}),
        ("learning_rate", [("(1 - step / num_steps)", "(1 - (step + 1) / num_steps)")], {**STRESS, "num_steps": 10}),
        ("samples", [("logit / temperature", "logit")], {**STRESS, "temperature": 3.0}),
        ("samples", [("rng.choices(", "random.choices(")], {**STRESS, "temperature": 3.0}),
        (
            "generation",
            [("for pos_id in range(config.block_size)", "for pos_id in range(config.block_size - 2)")],
            STRESS,
        ),
        ("generation", [("            break\n        tokens", "            pass\n        tokens")], STRESS),
        ("activation", [(RELU, "x = [xi.relu() + 1e-9 for xi in x]")], STRESS),
        ("activation", [(RELU, "x = x")], STRESS),
        ("stream_start", [(NORM, "    x = rmsnorm(rmsnorm(x))\n    for layer")], STRESS),
        ("stream_start", [(LAST, LAST.replace("(x,", "(rmsnorm(x),"))], STRESS),
        ("head", [(LAST, LAST.replace("lm_head", "wte"))], STRESS),
        ("head", [(LAST, f"x = {LAST.removeprefix('return ')}\n    return x[::-1]")], STRESS),
    ],
)
def test_a_copy_that_is_wrong_is_seen_to_be(observable, edits, given, process):
    assert not agrees(process, observable, *edits, **given)


BROKEN_ELSEWHERE = {
    "a norm before the head": (LAST, LAST.replace("(x,", "(rmsnorm(x),")),
    "a norm that is none": ("return [xi * scale for xi in x]", "return [xi * float('nan') for xi in x]"),
    "attention that leaves itself out": (
        "attend(q[part], [k[part] for k in keys[layer]], [v[part] for v in values[layer]])",
        "attend(q[part], [k[part] for k in keys[layer][:-1]], [v[part] for v in values[layer][:-1]])",
    ),
}


@pytest.mark.parametrize("what", BROKEN_ELSEWHERE)
@pytest.mark.parametrize("observable", ["activation", "head", "generation", "learning_rate"])
def test_what_is_broken_elsewhere_does_not_matter(what, observable, process):
    assert agrees(process, observable, BROKEN_ELSEWHERE[what], **STRESS)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([(NORM, "    for layer")], {"before attention": [1, 1], "in all": 4}),
        ([(LAST, LAST.replace("(x,", "(rmsnorm(x),"))], {"before head": 1, "in all": 6}),
        ([(LAST, f"x = {LAST.removeprefix('return ')}\n    return rmsnorm(x)")], {"before head": 1, "in all": 6}),
        ([("heads += attend(q[part]", "heads += attend(rmsnorm(q[part])")], {"in all": 11}),
    ],
)
def test_a_norm_that_is_missing_or_added_is_counted(edits, expected, process):
    own = seen(process, "norm_calls", **STRESS).arrays
    assert seen(process, "norm_calls", *edits, **STRESS).arrays == {**own, **expected}


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([(RELU, "x = [xi.relu() * random.random() for xi in x]")], (False, False)),
        ([(GPT, f"    random.seed(7)\n{GPT}")], (True, False)),
        ([(RELU, "x = [xi.relu() * random.SystemRandom().random() for xi in x]")], (False, True)),
    ],
)
def test_randomness_is_seen_by_its_effect_and_by_its_trace(edits, expected, process):
    found = seen(process, "repeatability", *edits, **STRESS, length=2).arrays
    assert (found["identical"], found["random state untouched"]) == expected


def test_tables_that_share_one_row_are_named(process):
    edit = ("    return state_dict\n", '    state_dict["lm_head"][3] = state_dict["wte"][0]\n    return state_dict\n')
    assert seen(process, "shared_parameters", edit).arrays == {"shared": ["lm_head and wte"]}
    equal = (
        "    return state_dict\n",
        "    for v in flatten(state_dict):\n        v.data = 1.0\n    return state_dict\n",
    )
    assert seen(process, "shared_parameters", equal).arrays == {"shared": []}


def test_what_cannot_be_looked_at_is_left_out_with_a_reason(process):
    no_linear = ('x = linear(x, state_dict[f"layer{layer}.mlp_fc2"])', "x = x[: config.n_embd]")
    assert "mlp_fc2" in seen(process, "activation", no_linear, **STRESS).skipped
    own_update = ("        adam_update(parameters, m", "        (lambda *_: None)(parameters, m")
    assert "adam_update" in seen(process, "learning_rate", own_update, **STRESS).skipped


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_every_program_has_every_operation_and_stays_inside_the_domain(seed):
    (case,) = inputs.cases("expressions", OBSERVABLES["expressions"].given(), seed)
    program, leaves = case.inputs["program"], case.inputs["leaves"]
    assert {row[0] for row in program} == {*BINARY, *WITH_NUMBER, *UNARY, "a ** c"}
    assert {row[2] for row in program if row[0] == "a ** c"} == set(POWERS)
    assert all(operand < len(leaves) + i for i, row in enumerate(program) for operand in row[1])
    found = TORCH.ask("expressions", case.inputs)().arrays
    assert len(found["values"]) == len(found["gradients"]) == len(leaves) + len(program)
    assert np.isfinite(found["gradients"]).all()
    assert np.abs(found["values"]).max() <= LARGEST
    of_relu = {
        math.copysign(1, x) if (x := float(found["values"][row[1][0]])) else 0 for row in program if row[0] == "relu a"
    }
    assert of_relu == {-1, 0, 1}


def test_more_steps_than_the_schedule_has_are_refused():
    given = OBSERVABLES["training"].given(steps=3, num_steps=2)
    with pytest.raises(ValueError, match="3 steps are more than the schedule's 2"):
        inputs.refuse_impossible(given)

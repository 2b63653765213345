"""Seeded inputs: the same wherever they are drawn, apart where they should be, and of the shapes that are promised."""

import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import inputs as making
from harness.givens import AdamGiven, DocumentsGiven, ModelGiven, VectorGiven
from harness.inputs import PROBES, cases, refuse_impossible
from harness.observables import OBSERVABLES
from reference.recipe import GPT1, GPT2, MICROGPT

ROOT = Path(__file__).resolve().parents[2]
NOT_DRAWN = [name for name, o in OBSERVABLES.items() if cases(name, o.given(), 1)[0].inputs.keys() <= {"sizes"}]
DRAWN = [name for name in OBSERVABLES if name not in NOT_DRAWN]
ONE_DOCUMENT = [name for name, o in OBSERVABLES.items() if issubclass(o.given, ModelGiven)]
DOCUMENTS = [name for name, o in OBSERVABLES.items() if issubclass(o.given, DocumentsGiven)]
WITH_WEIGHTS = [*ONE_DOCUMENT, *DOCUMENTS, "optimizer_start", "conv1d", "beyond_positions"]
SIZED = {"default": MICROGPT, "stress": MICROGPT, "attention-only": MICROGPT, "gpt2": GPT2, "gpt1": GPT1}


def draw(observable, seed=1, **what):
    return cases(observable, OBSERVABLES[observable].given(**what), seed)


def inputs(observable, seed=1, **what):
    """Those of the one case."""
    (case,) = draw(observable, seed, **what)
    return case.inputs


def flat(nested):
    return [x for item in nested for x in flat(item)] if isinstance(nested, list) else [nested]


def shape(nested):
    return (len(nested), *shape(nested[0])) if isinstance(nested, list) else ()


# --- the same, or apart -----------------------------------------------------------------------------------------------

EVERYTHING = """
import hashlib, json
from harness.inputs import cases
from harness.observables import OBSERVABLES
drawn = {name: [(c.name, c.inputs) for c in cases(name, o.given(seeds=2), 7)] for name, o in OBSERVABLES.items()}
print(hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest())
"""


def test_every_process_draws_the_same_whatever_its_hash_seed():
    children = [
        subprocess.Popen(
            [sys.executable, "-c", EVERYTHING],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("0", "4242")
    ]
    drawn = [child.communicate(timeout=60)[0].strip() for child in children]
    assert len(set(drawn)) == 1
    assert len(drawn[0]) == 64


@pytest.mark.parametrize("observable", OBSERVABLES)
def test_what_is_observed_by_default_can_be_drawn_again_and_sent_as_json(observable):
    (case,) = draw(observable)
    assert case == draw(observable)[0]
    assert json.loads(json.dumps(case.inputs, allow_nan=False)) == case.inputs


@pytest.mark.parametrize("observable", DRAWN)
def test_another_seed_draws_something_else(observable):
    if observable == "optimizer_start":  # whose tokens are fixed: the weights alone are drawn
        assert inputs(observable, 1)["tokens"] == inputs(observable, 2)["tokens"]
    drawn = [inputs(observable, 1), inputs(observable, 2), *(case.inputs for case in draw(observable, 3, seeds=3))]
    texts = {json.dumps(one) for one in drawn}
    assert len(texts) == 5


@pytest.mark.parametrize("observable", NOT_DRAWN)
def test_where_nothing_but_sizes_is_sent_no_seed_matters(observable):
    assert inputs(observable, 1) == inputs(observable, 2)


@pytest.mark.parametrize("observable", DRAWN)
def test_a_case_is_the_same_however_many_there_are(observable):
    few, many = draw(observable, seeds=2), draw(observable, seeds=5)
    assert few == many[:2]


def test_a_case_is_the_same_alone_and_in_a_list():
    alone, among = draw("rms_norm", width=8), draw("rms_norm", width=[4, 8, 2])
    assert alone[0] == among[1]
    assert draw("adam", regime="tiny")[0] == draw("adam", regime=["zero", "tiny"])[1]


@pytest.mark.parametrize(
    ("observable", "option", "values"),
    [
        ("logits", "attention", ["cache", "mask"]),
        ("logits", "order", ["forward", "backward"]),
        ("gradients", "attention", ["cache", "mask"]),
        ("logits", "feed", ["full", "cached"]),
        ("future_influence", "change", ["replaced", "removed"]),
        *((name, "norm", ["own", "plain"]) for name in (*ONE_DOCUMENT, *DOCUMENTS)),
    ],
)
def test_an_option_that_is_applied_after_the_draw_does_not_change_it(observable, option, values):
    own = [inputs(observable), *(inputs(observable, **{option: value}) for value in values)]
    own += [inputs(observable, probe="default", **{option: value}) for value in values]
    for drawn in own:
        drawn.pop(option)
    assert own[0] == own[1] == own[2]
    assert own[3] == own[4]


@pytest.mark.parametrize("observable", ["rms_norm", "softmax"])
@pytest.mark.parametrize("probe", ["default", "offset", "sparse", "gaps"])
def test_a_vector_is_multiplied_and_shifted_after_it_was_drawn(observable, probe):
    x = inputs(observable, probe=probe)["x"]
    assert inputs(observable, probe=probe, times=10.0)["x"] == [10.0 * xi for xi in x]
    assert inputs(observable, probe=probe, shift=1.0)["x"] == [xi + 1.0 for xi in x]
    assert inputs(observable, probe=probe, times=3.0, shift=-2.0)["x"] == [3.0 * xi - 2.0 for xi in x]


# --- lists ------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from([1e-4, 1.0, 10.0]), min_size=1, max_size=3, unique=True),
    st.integers(1, 3),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_lists_mean_their_product_each_case_with_a_name_of_its_own(widths, scales, seeds):
    drawn = draw("rms_norm", width=widths, scales=scales, seeds=seeds)
    assert len({case.name for case in drawn}) == len(drawn) == len(widths) * len(scales) * seeds
    assert [len(case.inputs["x"]) for case in drawn] == [w for w in widths for _ in scales for _ in range(seeds)]


def test_lists_of_sizes_reach_the_model_in_every_combination():
    drawn = draw("logits", probe="stress", n_layer=[1, 2], n_head=[1, 3], length=[2, 5])
    assert len({case.name for case in drawn}) == 8
    found = [(c.inputs["sizes"]["n_layer"], c.inputs["sizes"]["n_head"], len(c.inputs["tokens"]) - 1) for c in drawn]
    assert found == [(layers, heads, length) for layers in (1, 2) for heads in (1, 3) for length in (2, 5)]


def test_lengths_of_documents_are_those_of_one_case():
    found = inputs("gradients", lengths=[4, 1, 2])["documents"]
    assert [len(document) - 1 for document in found] == [4, 1, 2]


def test_a_name_shows_what_is_given_and_the_seed():
    names = [case.name for case in draw("rms_norm", width=[4, 8], probe="offset", times=2.0, seeds=2)]
    assert names[0] == "width 4, probe offset, seed 0"
    assert names[3] == "width 8, probe offset, seed 1"
    assert [case.name for case in draw("rms_norm")] == ["seed 0"]


# --- models and documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observable", WITH_WEIGHTS)
@pytest.mark.parametrize("probe", SIZED)
def test_weights_have_the_shapes_of_the_sizes_and_the_spread_of_the_probe(observable, probe):
    drawn = inputs(observable, probe=probe, n_layer=3, n_head=2)
    sizes, weights = drawn["sizes"], drawn["weights"]
    assert (sizes["n_layer"], sizes["n_head"]) == (3, 2)
    assert {name: shape(w) for name, w in weights.items()} == SIZED[probe].edited(sizes).parameter_shapes()
    silent = {name for name, w in weights.items() if not any(flat(w))}
    assert silent == {f"layer{i}.mlp_fc2" for i in range(3) if probe == "attention-only"}
    numbers = [x for name, w in weights.items() if name not in silent for x in flat(w)]
    std = math.hypot(*numbers) / math.sqrt(len(numbers))
    assert std == pytest.approx(0.08 if probe == "default" else 0.5, rel=0.05)


def test_the_probe_for_stress_has_no_two_sizes_alike():
    sizes = inputs("logits", probe="stress")["sizes"]
    drawn = [*sizes.values(), sizes["n_embd"] // sizes["n_head"], 4 * sizes["n_embd"]]
    assert len(set(drawn)) == len(drawn)
    assert inputs("logits")["sizes"] == {name: getattr(MICROGPT, name) for name in sizes}


@pytest.mark.parametrize("observable", ONE_DOCUMENT)
@pytest.mark.parametrize(("probe", "lengths"), [("default", [None, 1, 16]), ("stress", [None, 1, 7]), ("gpt2", [6])])
def test_one_document_has_distinct_tokens_after_its_beginning(observable, probe, lengths):
    for length in lengths:
        drawn = inputs(observable, probe=probe, **({} if length is None else {"length": length}))
        tokens, bos = drawn["tokens"], drawn["sizes"]["vocab_size"] - 1
        assert tokens[0] == bos
        assert len(set(tokens)) == len(tokens) == (length or {"default": 8, "stress": 6}[probe]) + 1
        assert set(tokens[1:]) <= set(range(bos))


@pytest.mark.parametrize("observable", DOCUMENTS)
def test_documents_of_the_stress_probe_are_hard(observable):
    for seed in range(20):
        drawn = inputs(observable, seed, probe="stress")
        documents, sizes = drawn["documents"], drawn["sizes"]
        bos = sizes["vocab_size"] - 1
        assert all(tokens[0] == tokens[-1] == bos and bos not in tokens[1:-1] for tokens in documents)
        assert all(0 <= token <= bos for tokens in documents for token in tokens)
        assert any(len(set(tokens[1:-1])) < len(tokens) - 2 for tokens in documents), "a token comes twice"
        assert any(0 in tokens[1:] for tokens in documents), "token 0 is a target"
        assert any(len(tokens) - 1 > sizes["block_size"] for tokens in documents), "one is longer than the block"
        assert any(len(tokens) == 3 for tokens in documents), "one is a single letter"
        used = {token for tokens in documents for token in tokens}
        assert used < set(range(bos + 1)), "some token is never used"


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ("rms_norm", {"x": (5,), "cotangent": (5,)}),
        ("softmax", {"x": (5,), "cotangent": (5,)}),
        ("linear", {"x": (5,), "w": (12, 5), "cotangent": (12,)}),
    ],
)
def test_a_component_is_drawn_with_a_cotangent_of_its_output(component, expected):
    drawn = inputs("gradients", component=component, width=5)
    assert drawn.pop("component") == component
    assert {name: shape(value) for name, value in drawn.items()} == expected


def test_attention_is_drawn_for_each_layer_and_position():
    drawn = inputs("attention", probe="stress", length=3)
    assert {name: shape(drawn[name]) for name in ("q", "k", "v", "cotangent")} == dict.fromkeys(
        ("q", "k", "v", "cotangent"), (2, 3, 12)
    )


@pytest.mark.parametrize(
    ("observable", "what", "message"),
    [
        ("logits", {"probe": "stress", "n_head": 5}, "5 heads do not divide the probe's n_embd of 12"),
        ("gradients", {"n_head": [1, 3]}, "3 heads do not divide the probe's n_embd of 16"),
        ("parameters", {"n_head": 32}, "32 heads do not divide"),
        ("logits", {"probe": "stress", "length": 8}, "length 8 does not fit: this probe takes at most 7"),
        ("attention", {"length": [1, 17]}, "length 17 does not fit: this probe takes at most 16"),
    ],
)
def test_sizes_that_cannot_be_are_refused_in_words(observable, what, message):
    with pytest.raises(ValueError, match=message):
        refuse_impossible(OBSERVABLES[observable].given(**what))


@pytest.mark.parametrize(
    ("observable", "what"),
    [
        ("logits", {"probe": "stress", "n_head": [1, 2, 3, 4, 6, 12], "length": [1, 7]}),
        ("gradients", {"probe": "stress", "lengths": [99]}),
        ("rms_norm", {"width": 4096}),
    ],
)
def test_sizes_that_fit_are_not_refused_and_can_be_drawn(observable, what):
    refuse_impossible(OBSERVABLES[observable].given(**what))
    assert draw(observable, **what)


def test_cases_are_counted_and_too_many_refused_without_making_any(monkeypatch):
    vectors = OBSERVABLES["rms_norm"].given
    assert making.count(vectors()) == 1
    assert making.count(vectors(width=[1, 2], scales=[1.0, 2.0, 3.0], seeds=5)) == 30
    assert making.count(OBSERVABLES["gradients"].given(lengths=[3, 4, 5], seeds=2)) == 2
    refuse_impossible(vectors(seeds=1000, width=list(range(1, 11))))
    monkeypatch.setattr(making, "_choices", lambda _: pytest.fail("they were made"))
    with pytest.raises(ValueError, match="11,000 cases are more than the 10,000 that a check may have"):
        refuse_impossible(vectors(seeds=1000, width=list(range(1, 12))))


def test_sizes_are_looked_at_once_and_not_for_each_seed(monkeypatch):
    looked = []
    sizes = making._sizes
    monkeypatch.setattr(making, "_sizes", lambda choice: looked.append(choice) or sizes(choice))
    refuse_impossible(OBSERVABLES["logits"].given(seeds=1000, n_head=[1, 2]))
    assert len(looked) == 2


# --- vectors and gradients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_vectors_have_the_scale_that_is_asked_for(scale):
    drawn = {probe: inputs("rms_norm", probe=probe, width=4000, scales=scale)["x"] for probe in ("default", "offset")}
    assert statistics.fmean(drawn["default"]) / scale == pytest.approx(0, abs=0.1)
    assert statistics.fmean(drawn["offset"]) / scale == pytest.approx(3, abs=0.1)
    assert all(statistics.pstdev(x) == pytest.approx(scale, rel=0.1) for x in drawn.values())


def test_sparse_vectors_are_zero_but_for_one_in_four():
    assert [xi != 0 for xi in inputs("rms_norm", probe="sparse", width=8)["x"]] == [True, False, False, False] * 2


def test_gaps_are_beyond_what_exp_can_hold():
    x = inputs("softmax", probe="gaps", width=64)["x"]
    assert min(x) >= -1000
    assert 710 < max(x) <= 1000
    with pytest.raises(OverflowError):
        math.exp(max(x))


REGIMES = {
    "normal": lambda g: 1e-6 < abs(g) < 10,
    "tiny": lambda g: 1e-18 < abs(g) < 1e-11,
    "huge": lambda g: 1 < abs(g) < 1e7,
    "zero": lambda g: g == 0,
    "sign-flipping": lambda g: 1e-6 < abs(g) < 10,
    "sparse": lambda g: g == 0 or 1e-6 < abs(g) < 10,
}


@pytest.mark.parametrize("regime", REGIMES)
def test_gradients_have_the_size_of_their_regime(regime):
    for observable, rows in (("adam", 6), ("first_update", 1)):
        if observable == "first_update" and regime in ("zero", "sparse"):
            continue
        more = {"steps": rows} if observable == "adam" else {}
        gradients = inputs(observable, regime=regime, size=30, **more)["gradients"]
        assert shape(gradients) == (rows, 30)
        assert all(map(REGIMES[regime], flat(gradients)))


def test_signs_flip_at_every_step_and_half_of_what_is_sparse_is_zero():
    flipping = inputs("adam", regime="sign-flipping", steps=5)["gradients"]
    assert [[g > 0 for g in row] for row in flipping] == [[k % 2 == 0] * 12 for k in range(5)]
    zeros = [g == 0 for g in flat(inputs("adam", regime="sparse", steps=50, size=40)["gradients"])]
    assert 0.4 < sum(zeros) / len(zeros) < 0.6


def test_the_optimizer_starts_at_zero_or_anywhere():
    zero, arbitrary = (inputs("adam", start=start, size=5, steps=4) for start in ("zero", "arbitrary"))
    assert zero["m"] == zero["v"] == [0.0] * 5
    assert zero["first_step"] == 0
    assert all(arbitrary["m"])
    assert min(arbitrary["v"]) > 0
    assert arbitrary["first_step"] >= 1
    assert zero["learning_rates"] == sorted(set(zero["learning_rates"]), reverse=True)
    assert zero["learning_rates"][-1] > 0


def test_hyperparameters_are_drawn_only_where_they_are_given():
    assert "hyperparameters" not in inputs("adam")
    drawn = inputs("adam", hyperparameters="given")["hyperparameters"]
    assert drawn.keys() == {"beta1", "beta2", "eps"}
    assert 0 < drawn["beta1"] < 1
    assert 0 < drawn["beta2"] < 1
    assert 0 < drawn["eps"] < 1e-8


def test_the_first_update_is_one_step_from_moments_of_zero():
    drawn = inputs("first_update", size=3)
    assert shape(drawn["gradients"]) == (1, 3)
    assert drawn["m"] == drawn["v"] == [0.0] * 3
    assert drawn["first_step"] == 0
    assert drawn["parameters"]


def test_every_probe_that_is_described_can_be_asked_for_and_the_other_way_round():
    asked = {name for o in (ModelGiven, VectorGiven) for name in o.model_fields["probe"].annotation.__args__}
    assert asked == set(PROBES)
    assert set(REGIMES) == set(AdamGiven.model_fields["regime"].annotation.__args__[0].__args__)

"""PyTorch and the papers' equations answer alike wherever both answer; and every edit of a recipe shows somewhere."""

import copy
import itertools
from functools import cache

import pytest

from harness import compare, derived, inputs
from harness.checking import ask
from harness.claims import Bound
from harness.observables import OBSERVABLES
from harness.subjects.papers import Papers
from harness.subjects.reference import TorchReference
from reference.mistakes import MISTAKES
from reference.recipe import GPT1, GPT2, MICROGPT

ROUND = Bound(kind="rounding")
SETTINGS = ("beta1", "beta2", "eps_adam")
REGIMES = ["normal", "tiny", "huge", "zero", "sign-flipping", "sparse"]


def cases(observable, given=None, seed=0):
    model = OBSERVABLES[observable].given
    return [case.inputs for case in inputs.cases(observable, model.model_validate(given or {}), seed)]


def paper(recipe=MICROGPT, eps=1e-5):
    settings = {name: getattr(recipe, name) for name in SETTINGS}
    return Papers(settings, eps, activation=recipe.activation)


def agree(observable, given, torch, other):
    """Whether two references agree in every array that both have, in every case; how many numbers that were."""
    compared = 0
    for drawn in cases(observable, given):
        a, b = (who.ask(observable, drawn)().arrays for who in (torch, other))
        shared = a.keys() & b.keys()
        assert shared
        found = compare.equals({name: b[name] for name in shared}, {name: a[name] for name in shared}, ROUND)
        if not found.passed:
            return False
        compared += found.compared
    return compared > 0


# --- the two agree ----------------------------------------------------------------------------------------------------

BOTH = sorted(name for name, observable in OBSERVABLES.items() if {"torch", "paper"} <= set(observable.references))
SIZES = {"n_layer": [1, 2], "n_head": [1, 3]}
MORE = {
    "rms_norm": [
        {"width": [1, 4, 64], "scales": [1e-8, 1e-4, 1.0, 1e8], "seeds": 2},
        {"probe": "offset"},
        {"probe": "sparse"},
    ],
    "softmax": [{"width": [1, 3, 64], "scales": [1e-8, 1.0, 100.0]}, {"shift": -50.0}],
    "linear": [{"n_in": [1, 5], "n_out": [1, 7]}],
    "attention": [{"probe": "stress", "length": [1, 2, 7], **SIZES}],
    "logits": [{"probe": "stress", "length": [1, 2, 6], **SIZES}, {"probe": "default", "length": 16}],
    "adam": [
        {"regime": REGIMES, "start": start, "hyperparameters": own}
        for start in ("zero", "arbitrary")
        for own in ("own", "given")
    ],
    "first_update": [{"regime": ["normal", "tiny", "huge"], "hyperparameters": own} for own in ("own", "given")],
}


def stress(name):
    return [{"probe": "stress"}] if "n_layer" in OBSERVABLES[name].given.model_fields else []


AGREEING = [(name, given) for name in BOTH for given in [{}, *stress(name), *MORE.get(name, [])]]


@pytest.mark.parametrize(("observable", "given"), AGREEING, ids=str)
def test_pytorch_and_the_papers_agree(observable, given):
    assert agree(observable, given, TorchReference(MICROGPT), paper())


def test_there_is_something_that_both_answer():
    assert {"rms_norm", "softmax", "linear", "attention", "logits", "adam", "first_update"} <= set(BOTH)


@pytest.mark.parametrize("how", ["cache", "sdpa"])
@pytest.mark.parametrize("observable", ["attention", "logits", "gradients", "past_gradients"])
def test_attention_is_the_same_however_it_is_computed(observable, how):
    first, second = TorchReference(MICROGPT), TorchReference(MICROGPT, how)
    assert agree(observable, {"probe": "stress"}, first, second)
    assert agree(observable, {}, first, second)


@pytest.mark.parametrize("eps", [0.0, 1e-6, 0.5])
def test_the_papers_norm_has_the_eps_that_it_is_given(eps):
    given = {"scales": [1e-4, 1.0]}
    assert agree("rms_norm", given, TorchReference(MICROGPT.edited({"norm_eps": eps})), paper(eps=eps))
    assert not agree("rms_norm", given, TorchReference(MICROGPT), paper(eps=eps))


@pytest.mark.parametrize("activation", ["relu", "gelu tanh"])
def test_the_papers_activation_is_the_one_that_it_is_given(activation):
    recipe = MICROGPT.edited({"activation": activation})
    others = {"relu": "gelu tanh", "gelu tanh": "relu"}
    assert agree("activation", {}, TorchReference(recipe), paper(recipe))
    assert not agree("activation", {}, TorchReference(recipe), paper(recipe.edited({"activation": others[activation]})))


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("beta1", 0.5), ("beta2", 0.9), ("eps_adam", 1e-3)])
@pytest.mark.parametrize("observable", ["adam", "first_update"])
def test_hyperparameters_are_those_of_the_subject(observable, name, value):
    recipe = MICROGPT.edited({name: value})
    assert agree(observable, {}, TorchReference(recipe), paper(recipe))
    if (observable, name) in (("first_update", "beta1"), ("first_update", "beta2")):
        assert agree(observable, {}, TorchReference(MICROGPT), paper(recipe)), "betas cancel in the first step"
    else:
        assert not agree(observable, {}, TorchReference(MICROGPT), paper(recipe))
        assert not agree(observable, {}, TorchReference(recipe), paper())


def test_hyperparameters_that_are_given_count_before_the_subjects_own():
    other = MICROGPT.edited({"beta1": 0.5, "beta2": 0.9, "eps_adam": 1e-3})
    given = {"hyperparameters": "given", "start": "arbitrary"}
    for first, second in itertools.combinations(
        [TorchReference(MICROGPT), TorchReference(other), paper(), paper(other)], 2
    ):
        assert agree("adam", given, first, second)
    assert not agree("adam", {"start": "arbitrary"}, TorchReference(MICROGPT), paper(other))


def test_the_settings_that_are_told_are_those_of_the_recipe():
    recipe = MICROGPT.edited({"beta1": 0.5, "learning_rate": 0.1, "num_steps": 7, "n_layer": 3})
    told = TorchReference(recipe).ask("hyperparameters", {})().arrays
    assert {name: told[name] for name in told if hasattr(recipe, name)} == {
        name: getattr(recipe, name)
        for name in (
            "beta1",
            "beta2",
            "eps_adam",
            "learning_rate",
            "num_steps",
            "n_embd",
            "n_head",
            "n_layer",
            "block_size",
        )
    }


@pytest.mark.parametrize("observable", ["logits", "gradients", "attention", "past_gradients", "parameters"])
def test_sizes_are_those_of_the_inputs(observable):
    other = MICROGPT.edited({"n_embd": 8, "n_head": 8, "n_layer": 5, "vocab_size": 3, "block_size": 2})
    (drawn,) = cases(observable, {"probe": "stress"})
    a, b = (TorchReference(recipe).ask(observable, drawn)().arrays for recipe in (MICROGPT, other))
    found = compare.same_values(b, a) if OBSERVABLES[observable].plain else compare.equals(b, a, Bound(kind="exactly"))
    assert found.passed


# --- mistakes ---------------------------------------------------------------------------------------------------------

# What PyTorch's decoder answers within milliseconds, and what is given.
ASKED = {
    "rms_norm": [{}],
    "attention": [{"probe": "stress"}],
    "logits": [{"probe": probe} for probe in ("stress", "gpt2", "gpt1")],
    "gradients": [{"probe": "stress"}],
    "activation": [{}],
    "head": [{}],
    "parameters": [{}],
    "adam": [{}, {"start": "arbitrary"}],
    "learning_rate": [{}],
}
BASES = {"gpt2": GPT2, "gpt1": GPT1}
RECIPES = [name for name, mistake in MISTAKES.items() if mistake.recipe]


def base(name):
    return BASES.get(name.partition("-")[0], MICROGPT)


@cache
def answered(recipe, observable, at):
    """What PyTorch answers for a recipe, by the place in ASKED; an answer is asked for once."""
    return [
        TorchReference(recipe).ask(observable, drawn)().arrays for drawn in cases(observable, ASKED[observable][at])
    ]


def told_apart(recipe, other):
    """The observables in which two recipes answer differently, as they are found."""
    for observable, given in ASKED.items():
        plain = OBSERVABLES[observable].plain
        for at in range(len(given)):
            for a, b in zip(answered(recipe, observable, at), answered(other, observable, at), strict=True):
                found = compare.same_values(b, a) if plain else compare.equals(b, a, ROUND)
                if not found.passed:
                    yield observable


@pytest.mark.parametrize("name", RECIPES)
def test_every_edit_of_a_recipe_shows_in_some_observable(name):
    recipe = base(name)
    assert next(told_apart(recipe, recipe.edited(MISTAKES[name].recipe)), None)


@pytest.mark.parametrize(
    ("edits", "where"),
    [
        ({}, set()),
        ({"n_layer": 5, "num_steps": 1000}, set()),
        ({"bias_correction": "frozen"}, {"adam"}),
        ({"schedule": "constant"}, {"learning_rate"}),
        ({"activation": "silu"}, {"activation", "logits", "gradients"}),
        ({"loss": "sum"}, {"gradients"}),
    ],
)
def test_an_edit_shows_where_it_belongs_and_nowhere_else(edits, where):
    assert set(told_apart(MICROGPT, MICROGPT.edited(edits))) == where


# --- readings, and what is left alone ---------------------------------------------------------------------------------


@pytest.mark.parametrize("observable", [name for name in BOTH if "digits" in OBSERVABLES[name].readings])
def test_fifty_digits_and_symbols_of_the_papers_are_their_floats(observable):
    given = (
        {"steps": 2, "size": 2}
        if observable == "adam"
        else {"probe": "stress", "length": 2}
        if observable == "logits"
        else {}
    )
    for drawn in cases(observable, given):
        plain = paper().ask(observable, drawn)().arrays
        digits = paper().ask(observable, drawn, "digits")().arrays
        assert compare.equals(floats(digits), plain, ROUND).passed
        if "symbols" in OBSERVABLES[observable].readings:
            symbols = paper().ask(observable, drawn, "symbols")().arrays
            assert all(leaf.free_symbols for leaf in flat(symbols))


def flat(nested):
    if isinstance(nested, dict):
        nested = list(nested.values())
    return [leaf for item in nested for leaf in flat(item)] if isinstance(nested, list) else [nested]


def floats(nested):
    if isinstance(nested, dict):
        return {name: floats(item) for name, item in nested.items()}
    return [floats(item) for item in nested] if isinstance(nested, list) else float(nested)


@pytest.mark.parametrize("reading", ["symbols", "digits", "dependencies"])
def test_pytorch_computes_in_floats_alone_and_says_so(reading):
    found = TorchReference(MICROGPT).ask("rms_norm", cases("rms_norm")[0], reading)()
    assert found.skipped == f"PyTorch computes in float64, not in {reading}"
    assert (found.arrays, found.error) == ({}, "")


@pytest.mark.parametrize("observable", BOTH)
def test_inputs_are_left_as_they_were_and_answers_repeat(observable):
    (drawn,) = cases(observable)
    before = copy.deepcopy(drawn)
    for who in (TorchReference(MICROGPT), paper()):
        first, second = (who.ask(observable, drawn)().arrays for _ in range(2))
        assert compare.equals(second, first, Bound(kind="exactly")).passed
        assert drawn == before


@pytest.mark.parametrize(
    ("observable", "arrays"),
    [
        ("attention_widths", {"scores": [[t] * 6 for t in (1, 2, 3)]}),
        ("dependencies", {name: [[1, 0, 0], [1, 1, 0], [1, 1, 1]] for name in ("tokens", "positions")}),
    ],
)
def test_what_the_papers_say_of_the_mechanism(observable, arrays):
    (drawn,) = cases(observable, {"probe": "stress", "length": 3})
    assert compare.equals(paper().ask(observable, drawn)().arrays, arrays, Bound(kind="exactly")).passed


def test_a_cache_holds_what_fits_and_an_optimizer_starts_from_nothing():
    (drawn,) = cases("cache_lengths", {"probe": "stress", "lengths": [9, 2]})
    held = paper().ask("cache_lengths", drawn)().arrays
    assert held["keys of document 0"] == held["values of document 0"] == [[t, t] for t in range(1, 8)]
    assert held["keys of document 1"] == [[1, 1], [2, 2]]
    start = paper().ask("optimizer_start", cases("optimizer_start")[0])().arrays
    assert (set(start["m"]), set(start["v"]), start["step"]) == ({0.0}, {0.0}, 0.0)


@pytest.mark.parametrize(
    "name", [name for name, each in OBSERVABLES.items() if each.from_others and "torch" in each.references]
)
def test_what_is_put_together_from_other_observations_is_asked_of_pytorch_too(name):
    (drawn,) = cases(name, {"probe": "stress"})
    found = ask(TorchReference(MICROGPT), name, drawn, "float64")()
    assert len(found.arrays["change"]) == len(derived.requests(name, drawn)) - 1 or name == "past_influence"
    leaky = ask(TorchReference(MICROGPT.edited({"attention_mask": "none"})), name, drawn, "float64")()
    assert (max(found.arrays["change"]) == 0, max(leaky.arrays["change"]) > 1e-6) == (name == "future_influence", True)


@pytest.mark.parametrize(
    ("who", "observable", "given"),
    [
        pytest.param(paper(), "softmax", {"probe": "gaps"}),
        pytest.param(paper(), "gradients", {}),
        pytest.param(TorchReference(MICROGPT), "cache_lengths", {}),
    ],
)
def test_a_reference_that_cannot_answer_says_so_and_raises_nothing(who, observable, given):
    found = who.ask(observable, cases(observable, given)[0])()
    assert found.error or found.skipped

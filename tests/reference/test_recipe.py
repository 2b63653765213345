import dataclasses
import itertools
import zlib
from typing import get_args, get_type_hints

import pytest
import torch

from reference import adam, components, gpt
from reference.recipe import GPT2, MICROGPT, Recipe

torch.set_num_threads(1)  # threads that wait for each other cost more than these tensors do

# All sizes distinct, and sqrt(C), sqrt(H), D and sqrt(D) too: on microgpt's own, 1/sqrt(H) is 1/sqrt(D).
STRESS = {"vocab_size": 14, "n_embd": 12, "n_head": 3, "n_layer": 2, "block_size": 7, "num_steps": 10}
DOCUMENT = torch.tensor([13, 4, 0, 0, 9, 4, 1, 13])
KINDS = get_type_hints(Recipe)
CHOICES = {name: get_args(kind) or (True, False) for name, kind in KINDS.items() if get_args(kind) or kind is bool}
CONTINUOUS = {
    "norm_eps": 1e-6,
    "dropout": 0.1,
    "learning_rate": 0.02,
    "beta1": 0.9,
    "beta2": 0.95,
    "eps_adam": 1e-7,
    "weight_decay": 0.01,
    "num_steps": 20,
}
# What else is edited, on both sides, for a field to show; and by how much any two of its values then differ.
# AMSGrad is Adam until a gradient falls below a tenth of an earlier one: two of the gradients below do.
ALONGSIDE = {
    "final_norm_place": {"final_norm": True},
    "norm_eps_place": {"std": 2e-3},
    "norm_eps": {"std": 2e-3},
    "weight_decay_kind": {"weight_decay": 0.1},
}
APART = {"activation": 5e-4}  # 1e-3 elsewhere; the two forms of GELU are 1e-3 apart


def observe(recipe, std=0.5):
    """Everything that a recipe decides, as named tensors."""
    seen, parameters = {}, {}
    for name, shape in recipe.parameter_shapes().items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        parameters[name] = std * torch.randn(*shape, generator=generator, dtype=torch.float64)
    torch.manual_seed(1)
    decoder = gpt.Decoder(recipe, parameters, training=True)
    seen["logits"] = decoder.logits(DOCUMENT[:-1]).detach()
    seen["loss"] = decoder.loss(DOCUMENT).detach()
    seen |= {f"gradient of {name}": x for name, x in gpt.gradients(decoder, DOCUMENT).items()}
    theta = torch.tensor([1.0, -1.0, 0.5, 0.1], dtype=torch.float64)
    slopes = torch.tensor([[0.5, 2e-8, -3.0, 0.0], [-0.1, -1e-8, 0.1, 0.2], [0.2, 3e-8, 0.1, 0.1]], dtype=torch.float64)
    rates = [adam.learning_rate_at(recipe, step) for step in range(3)]
    trajectory = adam.trajectory(recipe, theta, slopes, rates)
    seen["steps"] = trajectory["parameters"] - theta
    return seen | {name: trajectory[name] for name in ("m", "v")}


def distance(one, other):
    """The largest difference relative to the larger's largest magnitude; infinite where names or shapes differ."""
    if {n: x.shape for n, x in one.items()} != {n: x.shape for n, x in other.items()}:
        return float("inf")
    worst = 0.0
    for name, x in one.items():
        y = other[name]
        assert torch.isfinite(x).all()
        scale = max(x.abs().max().item(), y.abs().max().item())
        if scale > 1e-12:
            worst = max(worst, (x - y).abs().max().item() / scale)
    return worst


def seen_with(field, value):
    alongside = dict(ALONGSIDE.get(field, {}))
    std = alongside.pop("std", 0.5)
    return observe(MICROGPT.edited(STRESS | alongside | {field: value}), std)


@pytest.mark.parametrize("field", CHOICES)
def test_no_two_values_of_a_field_are_one_function(field):
    seen = {value: seen_with(field, value) for value in CHOICES[field]}
    assert getattr(MICROGPT, field) in seen
    for one, other in itertools.combinations(seen, 2):
        assert distance(seen[one], seen[other]) > APART.get(field, 1e-3), (one, other)
    again = CHOICES[field][-1]
    assert distance(seen[again], seen_with(field, again)) == 0


@pytest.mark.parametrize("field", CONTINUOUS)
def test_no_number_is_ignored(field):
    away = distance(seen_with(field, CONTINUOUS[field]), seen_with(field, getattr(MICROGPT.edited(STRESS), field)))
    assert APART.get(field, 1e-3) < away < float("inf")


@pytest.mark.parametrize("field", ["vocab_size", "n_embd", "n_layer", "block_size"])
def test_sizes_show_in_the_shapes(field):
    edits = STRESS | {field: STRESS[field] * 2}
    assert MICROGPT.edited(edits).parameter_shapes() != MICROGPT.edited(STRESS).parameter_shapes()


def test_the_number_of_heads_shows():
    assert 1e-3 < distance(seen_with("n_head", 3), seen_with("n_head", 4)) < float("inf")


def test_every_field_is_tried():
    assert set(KINDS) == {*CHOICES, *CONTINUOUS, "vocab_size", "n_embd", "n_head", "n_layer", "block_size"}


@pytest.mark.parametrize("field", CHOICES)
def test_every_variant_runs_by_cache_or_is_refused(field):
    x = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for value in CHOICES[field]:
        recipe = MICROGPT.edited(STRESS | {field: value})
        by_mask = components.attention(x, x.flip(-1), x, recipe)
        for how in ("cache", "sdpa"):
            try:
                got = components.attention(x, x.flip(-1), x, recipe, how)
            except ValueError:
                assert field.startswith("attention")
                assert value != getattr(MICROGPT, field)
            else:
                assert (got - by_mask).abs().max() <= 2**12 * 2**-53 * by_mask.abs().max()


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"norm": "batch"}, "recipe field norm is 'batch'. It takes one of: 'rms', 'layer', 'none'"),
        ({"attention_scale": 1}, "recipe field attention_scale is 1"),
        ({"attention_mask": None}, "recipe field attention_mask"),
        ({"activation": ["relu"]}, "recipe field activation"),
        ({"norm_eps": "1e-5"}, "a finite number .in YAML with a point: 1.0e-5"),
        ({"norm_eps": -1e-5}, "0 or more"),
        ({"eps_adam": float("nan")}, "a finite number"),
        ({"learning_rate": float("inf")}, "a finite number"),
        ({"learning_rate": True}, "a finite number"),
        ({"beta1": 1.0}, "0 or more, and less than 1"),
        ({"beta2": -0.1}, "0 or more, and less than 1"),
        ({"dropout": 1}, "0 or more, and less than 1"),
        ({"weight_decay": -1}, "0 or more"),
        ({"tied_head": 1}, "true or false"),
        ({"biases": "no"}, "true or false"),
        ({"n_layer": 0}, "a whole number above 0"),
        ({"n_embd": 16.0}, "a whole number above 0"),
        ({"vocab_size": True}, "a whole number above 0"),
        ({"n_head": 5}, "n_embd 16 is not a multiple of n_head 5"),
        ({"n_heads": 4, "colour": "red"}, "no such recipe field: colour, n_heads"),
    ],
)
def test_what_a_field_does_not_take_is_refused(edits, message):
    with pytest.raises(ValueError, match=message):
        MICROGPT.edited(edits)
    if set(edits) <= set(KINDS):
        with pytest.raises(ValueError, match=message):
            Recipe(**edits)


def test_a_recipe_is_frozen_compared_by_value_and_edited_as_a_copy():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MICROGPT.norm = "layer"
    assert MICROGPT.edited({}) == MICROGPT == Recipe()
    other = MICROGPT.edited({"norm": "layer", "biases": True, "learning_rate": 1})
    assert other.differences(MICROGPT) == MICROGPT.differences(other) == ["norm", "biases", "learning_rate"]
    assert MICROGPT.norm == "rms"
    assert hash(MICROGPT) == hash(Recipe())


def test_sizes_of_the_two_recipes():
    def count(recipe):
        return sum(torch.Size(shape).numel() for shape in recipe.parameter_shapes().values())

    assert (MICROGPT.head_size, GPT2.head_size) == (4, 64)
    assert (count(MICROGPT), count(GPT2)) == (4192, 124439808)
    assert GPT2.edited({name: getattr(MICROGPT, name) for name in GPT2.differences(MICROGPT)}) == MICROGPT


def test_a_norm_that_is_not_there_has_no_gain():
    def gains(**edits):
        return {name for name in MICROGPT.edited(edits | {"norm_affine": True}).parameter_shapes() if "norm" in name}

    layer = {f"layer0.norm{n}.{what}" for n in (1, 2) for what in ("gain", "bias")}
    ends = {name: {f"{name}.gain", f"{name}.bias"} for name in ("embedding_norm", "final_norm")}
    assert gains() == layer | ends["embedding_norm"]
    assert gains(embedding_norm=False, final_norm=True) == layer | ends["final_norm"]
    assert gains(norm="none", final_norm=True) == set()

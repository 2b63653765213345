import pytest
import torch

from reference import huggingface as hf
from reference.gpt import Decoder
from reference.mistakes import MISTAKES
from reference.recipe import GPT1, GPT2, MICROGPT

SIZES = {"vocab_size": 14, "n_embd": 12, "n_head": 3, "n_layer": 2, "block_size": 7}
TOKENS = torch.tensor([13, 3, 5, 2, 7, 0])


def weights(recipe, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = recipe.parameter_shapes()
    return {n: 0.5 * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}


def distance(a, b):
    return float((a - b).detach().abs().max() / b.detach().abs().max())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gpt2_with_the_tables_weights_is_the_decoder_of_its_recipe(attention):
    recipe = GPT2.edited(SIZES)
    model = hf.gpt2(hf.installed(), SIZES, attention)
    hf.load(model, recipe, weights(recipe))
    assert distance(model(TOKENS[None]).logits[0], Decoder(recipe, weights(recipe)).logits(TOKENS)) < 1e-13


def test_gpt1_with_the_tables_weights_is_the_decoder_of_its_recipe():
    recipe = GPT1.edited(SIZES)
    model = hf.gpt1(SIZES)
    hf.load(model, recipe, weights(recipe), first=True)
    assert distance(model(TOKENS[None]).logits[0], Decoder(recipe, weights(recipe)).logits(TOKENS)) < 1e-13


def test_weights_come_back_through_the_table_as_they_went():
    recipe = GPT2.edited(SIZES)
    model, there = hf.gpt2(hf.installed(), SIZES), weights(recipe)
    hf.load(model, recipe, there)
    back = hf.named(recipe, dict(model.named_parameters()))
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], there[name]) for name in there)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("layer1.attn_wk"), "no weights layer1.attn_wk"),
        (lambda w: w.update(lm_head=w["wte"]), "lm_head go nowhere"),
        (lambda w: w.update({"layer0.mlp_fc1": w["layer0.mlp_fc1"].T}), "shape"),
        (lambda w: w.update({"layer0.attn_wq": w["layer0.attn_wq"][:6]}), "shape"),
    ],
)
def test_weights_that_are_missing_left_over_or_of_another_shape_are_refused(change, message):
    recipe = GPT2.edited(SIZES)
    odd = weights(recipe)
    change(odd)
    with pytest.raises(ValueError, match=message):
        hf.load(hf.gpt2(hf.installed(), SIZES), recipe, odd)


def test_a_module_with_parameters_beyond_the_table_is_refused():
    recipe = GPT2.edited(SIZES)
    model = hf.gpt2(hf.installed(), SIZES)
    model.transformer.extra = torch.nn.Linear(2, 2).double()
    with pytest.raises(ValueError, match=r"extra\.weight is not in the table"):
        hf.load(model, recipe, weights(recipe))


@pytest.mark.parametrize("std", [0.08, 0.5])
def test_every_edit_together_is_microgpt_and_each_is_needed(std):
    recipe = MICROGPT.edited(SIZES)
    own = {name: value * std / 0.5 for name, value in weights(recipe).items()}
    expected = Decoder(recipe, own).logits(TOKENS)

    def edited(fields):
        torch.manual_seed(0)
        return hf.toward_microgpt(hf.installed(), recipe, own, fields)(TOKENS[None]).logits[0]

    assert distance(edited(hf.LADDER), expected) < 1e-13
    for field in hf.LADDER:
        rest = tuple(name for name in hf.LADDER if name != field)
        assert float((edited(rest) - expected).detach().abs().max()) > 1.9e-2, field


def test_an_edit_that_is_not_in_the_ladder_is_refused():
    recipe = MICROGPT.edited(SIZES)
    with pytest.raises(ValueError, match="no edit for the recipe field 'loss'"):
        hf.edit(hf.gpt2(hf.installed(), SIZES), "loss", recipe, weights(recipe))


@pytest.mark.parametrize("name", [name for name, mistake in MISTAKES.items() if mistake.module])
def test_a_patch_of_the_module_fits_the_installed_release_and_builds(name):
    module = MISTAKES[name].module
    sources = hf.patched(module.file, module.apply)
    assert sources != hf.installed()
    assert hf.gpt2(sources, SIZES)(TOKENS[None]).logits.shape == (1, 6, 14)


def test_a_patch_that_fits_nowhere_is_refused():
    module = MISTAKES["gpt2-relu"].module
    with pytest.raises(ValueError, match="0 of 1 texts fit"):
        module.apply("nothing of the kind")

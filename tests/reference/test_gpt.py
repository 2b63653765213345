import math
import random
import zlib

import pytest
import torch

from microgpt import microgpt
from reference import components, gpt, papers
from reference.components import ATTENTIONS
from reference.recipe import GPT2, MICROGPT

torch.set_num_threads(1)  # threads that wait for each other cost more than these tensors do

BOUND = 2**12 * 2**-53
STRESS = {"vocab_size": 14, "n_embd": 12, "n_head": 3, "n_layer": 2, "block_size": 7}
SMALL_GPT2 = GPT2.edited(STRESS | {"dropout": 0.1})
DOCUMENT = torch.tensor([13, 4, 0, 0, 9, 4, 13])


def parameters(recipe, std=0.5):
    """Normal numbers from a seed of each name's own, so that recipes share what they have in common."""
    found = {}
    for name, shape in recipe.parameter_shapes().items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        found[name] = std * torch.randn(*shape, generator=generator, dtype=torch.float64) + name.endswith("gain")
    return found


def decoder(edits=None, **options):
    recipe = MICROGPT.edited(STRESS | (edits or {}))
    return gpt.Decoder(recipe, parameters(recipe), **options)


def assert_close(got, wanted, bound=BOUND):
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype == torch.float64
    assert torch.isfinite(wanted).all()
    assert wanted.abs().max() > 0
    assert (got - wanted).abs().max() <= bound * wanted.abs().max()


@pytest.fixture(scope="module")
def pure_python():
    """microgpt's own logits, loss and gradients on the document, with 2 layers, and the weights that it had."""
    config = microgpt.Config(**STRESS)
    recipe = MICROGPT.edited(STRESS)
    weights = {name: x.tolist() for name, x in parameters(recipe).items()}
    state = {name: [[microgpt.Value(x) for x in row] for row in rows] for name, rows in weights.items()}
    tokens = DOCUMENT.tolist()
    keys, values = microgpt.empty_cache(config)
    logits = [microgpt.gpt(state, config, token, t, keys, values) for t, token in enumerate(tokens[:-1])]
    loss = microgpt.document_loss(state, config, tokens)
    loss.backward()
    return {
        "weights": weights,
        "logits": torch.tensor([[x.data for x in row] for row in logits], dtype=torch.float64),
        "loss": torch.tensor(loss.data, dtype=torch.float64),
        "gradients": {
            name: torch.tensor([[x.grad for x in row] for row in rows], dtype=torch.float64)
            for name, rows in state.items()
        },
    }


@pytest.mark.parametrize("how", ATTENTIONS)
def test_against_microgpt(pure_python, how):
    ours = decoder(attention=how)
    assert_close(ours.logits(DOCUMENT[:-1]), pure_python["logits"], 1e-12)
    assert_close(ours.loss(DOCUMENT), pure_python["loss"], 1e-12)
    found = gpt.gradients(ours, DOCUMENT)
    assert list(found) == list(pure_python["gradients"])
    for name, wanted in pure_python["gradients"].items():
        assert_close(found[name], wanted, 1e-12)
        assert torch.equal(found[name] == 0, wanted == 0), name  # rows of unused tokens and positions, dead units


def test_the_papers_put_together_are_the_same_function(pure_python):
    sizes = {"n_head": 3, "n_layer": 2}
    got = papers.decoder_logits(pure_python["weights"], DOCUMENT[:-1].tolist(), sizes, math, 1e-5)
    assert_close(torch.tensor(got, dtype=torch.float64), pure_python["logits"], 1e-12)


def test_names_shapes_and_order_are_microgpts():
    state = microgpt.init_state_dict(microgpt.Config(**STRESS), random.Random(0))
    shapes = {name: (len(rows), len(rows[0])) for name, rows in state.items()}
    assert list(MICROGPT.edited(STRESS).parameter_shapes().items()) == list(shapes.items())


@pytest.mark.parametrize("activation", ["gelu erf", "relu"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_against_torchs_own_layers(order, activation):
    """`torch.nn.TransformerEncoderLayer` settles where norms, biases and residuals go: GPT-2 but for its activation."""
    recipe = SMALL_GPT2.edited({"norm_order": order, "activation": activation, "norm_eps": 1e-3})
    ours = gpt.Decoder(recipe, parameters(recipe))
    p = {name: x.detach() for name, x in ours.parameters.items()}
    x = p["wte"][DOCUMENT[:-1]] + p["wpe"][:6]
    for i in range(2):
        layer = torch.nn.TransformerEncoderLayer(
            12, 3, 48, 0.0, activation.split()[0], 1e-3, True, order == "pre", dtype=torch.float64
        )
        names = {"self_attn.out_proj": "attn_wo", "linear1": "mlp_fc1", "linear2": "mlp_fc2"}
        state = {f"{k}.weight": p[f"layer{i}.{v}"] for k, v in names.items()}
        state |= {f"{k}.bias": p[f"layer{i}.{v}.bias"] for k, v in names.items()}
        state |= {f"norm{n}.weight": p[f"layer{i}.norm{n}.gain"] for n in (1, 2)}
        state |= {f"norm{n}.bias": p[f"layer{i}.norm{n}.bias"] for n in (1, 2)}
        state["self_attn.in_proj_weight"] = torch.cat([p[f"layer{i}.attn_w{w}"] for w in "qkv"])
        state["self_attn.in_proj_bias"] = torch.cat([p[f"layer{i}.attn_w{w}.bias"] for w in "qkv"])
        layer.load_state_dict(state)
        mask = torch.full((6, 6), -torch.inf, dtype=torch.float64).triu(1)
        x = layer(x[None], src_mask=mask)[0]
    x = torch.nn.functional.layer_norm(x, (12,), p["final_norm.gain"], p["final_norm.bias"], 1e-3)
    assert_close(ours.logits(DOCUMENT[:-1]), x @ p["wte"].T)


RECIPES = {
    "microgpt": {},
    "gpt2": {name: getattr(SMALL_GPT2, name) for name in MICROGPT.differences(SMALL_GPT2)},
    "post": {"norm_order": "post", "norm_affine": True, "final_norm": True},
    "bare": {"norm": "none", "position": "none", "embedding_norm": False, "biases": True},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("how", ATTENTIONS)
def test_a_batch_is_its_documents(name, how):
    ours = decoder(RECIPES[name], attention=how)
    batch = torch.tensor([[13, 0, 5, 5], [13, 1, 2, 3], [0, 0, 0, 0]])
    together = ours.logits(batch)
    assert together.shape == (3, 4, 14)
    for row, tokens in zip(together, batch, strict=True):
        assert_close(row, ours.logits(tokens))


@pytest.mark.parametrize("name", RECIPES)
def test_three_ways_of_attention_agree_on_gradients(name):
    found = [gpt.gradients(decoder(RECIPES[name], attention=how), DOCUMENT) for how in ATTENTIONS]
    for others in found[1:]:
        for parameter, wanted in found[0].items():
            if parameter.endswith("attn_wk.bias"):  # it shifts all scores alike: zero, but for rounding
                scale = found[0][parameter.removesuffix(".bias")].abs().max()
                assert max(wanted.abs().max(), others[parameter].abs().max()) <= BOUND * scale
            else:
                assert_close(others[parameter], wanted)


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_by_finite_differences(name):
    ours = decoder(RECIPES[name])
    found = gpt.gradients(ours, DOCUMENT)
    for parameter, leaf in ours.parameters.items():
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        losses = []
        for step in (1e-5, -1e-5):
            moved = {**ours.parameters, parameter: leaf + step * direction}
            losses.append(gpt.Decoder(ours.recipe, moved).loss(DOCUMENT).item())
        slope = (found[parameter] * direction).sum().item()
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-8), parameter


@pytest.mark.parametrize("how", ATTENTIONS)
def test_what_is_to_come_has_no_influence(how):
    ours = decoder(attention=how)
    before, changed = ours.logits(DOCUMENT), DOCUMENT.clone()
    changed[4:] = torch.tensor([1, 2, 3])
    assert torch.equal(ours.logits(changed)[:4], before[:4])
    assert (ours.logits(changed)[4:] - before[4:]).abs().amax(1).min() > 1e-2
    slope = torch.autograd.grad(before[2].norm(), ours.parameters["wpe"])[0]
    assert slope.any(dim=1).tolist() == [True] * 3 + [False] * 4


def test_unused_rows_have_gradients_of_exactly_zero():
    found = gpt.gradients(decoder(), DOCUMENT[:4])
    assert found["wte"].any(dim=1).nonzero().flatten().tolist() == [0, 4, 13]
    assert found["wpe"].any(dim=1).tolist() == [True] * 3 + [False] * 4
    tied = gpt.gradients(decoder({"tied_head": True}), DOCUMENT[:4])
    assert "lm_head" not in tied
    assert tied["wte"].any(dim=1).all()
    nothing = gpt.gradients(decoder({"attention_mask": "self only"}), DOCUMENT)
    assert nothing["layer0.attn_wq"].shape == (12, 12)
    assert not nothing["layer0.attn_wq"].any()


def test_a_gradient_that_does_not_exist_is_zeros():
    ours = decoder({"n_layer": 1})
    ours.parameters["unused"] = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert gpt.gradients(ours, DOCUMENT)["unused"].tolist() == [0, 0]


def test_a_long_document_is_cut_at_the_block_size():
    ours, long = decoder(), torch.tensor([13, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13])
    assert ours.loss(long) == ours.loss(long[:8])
    assert ours.loss(long) != ours.loss(long[:7])
    each = torch.nn.functional.cross_entropy(ours.logits(long[:7]), long[1:8], reduction="none")
    assert_close(ours.loss(long), each.mean())
    assert_close(decoder({"loss": "sum"}).loss(long), each.sum())
    assert ours.loss(torch.tensor([13, 13])).shape == ()


def test_stages_tell_what_was_computed():
    ours = decoder({"final_norm": True})
    stages = ours.stages(DOCUMENT[:-1])
    inside = [f"layer{i}.{part}_{end}" for i in (0, 1) for part in ("attention", "mlp") for end in ("in", "out", "sum")]
    assert list(stages) == ["embedding", "embedding_norm", *inside, "final", "logits"]
    assert {tuple(x.shape) for name, x in stages.items() if name != "logits"} == {(6, 12)}
    assert torch.equal(stages["logits"], ours.logits(DOCUMENT[:-1]))
    p = ours.parameters
    assert torch.equal(stages["embedding"], p["wte"][DOCUMENT[:-1]] + p["wpe"][:6])
    before = stages["embedding_norm"]
    for i in (0, 1):
        for part in ("attention", "mlp"):
            scale = (before.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
            assert_close(stages[f"layer{i}.{part}_in"], before * scale)
            assert torch.equal(stages[f"layer{i}.{part}_sum"], before + stages[f"layer{i}.{part}_out"])
            before = stages[f"layer{i}.{part}_sum"]
    post = decoder({"norm_order": "post", "embedding_norm": False}).stages(DOCUMENT[:-1])
    assert "embedding_norm" not in post
    assert torch.equal(post["layer0.attention_in"], post["embedding"])
    assert_close(post["layer0.attention_sum"].pow(2).mean(-1), torch.ones(6, dtype=torch.float64), 1e-3)
    assert torch.equal(post["final"], post["layer1.mlp_sum"])


def test_a_position_that_comes_one_late_stops_at_the_last():
    tokens = torch.tensor([13, 1, 2, 3, 4, 5, 6])
    late, p = decoder({"position": "one late"}), decoder().parameters
    wanted = p["wte"][tokens] + p["wpe"][[1, 2, 3, 4, 5, 6, 6]]
    assert torch.equal(late.stages(tokens)["embedding"], wanted)
    none = decoder({"position": "none"})
    assert torch.equal(none.stages(tokens)["embedding"], p["wte"][tokens])


def test_dropout_acts_in_training_alone():
    edits = {"dropout": 0.3}
    assert torch.equal(decoder(edits).logits(DOCUMENT), decoder().logits(DOCUMENT))
    assert torch.equal(decoder(training=True).logits(DOCUMENT), decoder().logits(DOCUMENT))
    for how in ATTENTIONS:
        training = decoder(edits, attention=how, training=True)
        torch.manual_seed(5)
        first = training.stages(DOCUMENT)
        second = training.logits(DOCUMENT)
        torch.manual_seed(5)
        assert torch.equal(training.logits(DOCUMENT), first["logits"])
        assert (second - first["logits"]).abs().max() > 1e-2
        for place in ("embedding", "layer0.attention_out", "layer0.mlp_out"):
            assert 0.1 < (first[place] == 0).double().mean() < 0.5, place


@pytest.mark.parametrize("how", ATTENTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_attention_is_computed_as_asked(monkeypatch, how, training):
    asked, real = [], components.attention

    def spy(q, k, v, recipe, how="mask", dropout=0.0):
        asked.append((how, dropout))
        return real(q, k, v, recipe, how, dropout)

    monkeypatch.setattr(components, "attention", spy)
    decoder({"dropout": 0.3}, attention=how, training=training).logits(DOCUMENT)
    assert asked == [(how, 0.3 if training else 0.0)] * 2


def test_parameters_are_copies_and_leaves():
    recipe = MICROGPT.edited(STRESS)
    given = parameters(recipe)
    ours = gpt.Decoder(recipe, dict(reversed(given.items())))
    assert list(ours.parameters) == list(recipe.parameter_shapes())
    assert all(x.is_leaf and x.requires_grad for x in ours.parameters.values())
    assert not any(x.requires_grad for x in given.values())
    before = ours.loss(DOCUMENT)
    given["wte"].zero_()
    assert ours.loss(DOCUMENT) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("wpe"), "wpe is missing"),
        (lambda p: p.update(wqe=p["wpe"]), "wqe is not in the recipe"),
        (lambda p: p.update(wpe=p["wpe"].T), r"wpe has shape \(12, 7\), not \(7, 12\)"),
        (lambda p: p.update(wpe=p["wpe"].float()), "wpe is torch.float32"),
        (lambda p: p.update({"layer0.attn_wq.bias": p["wpe"][0]}), "layer0.attn_wq.bias is not"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, message):
    recipe = MICROGPT.edited(STRESS)
    given = parameters(recipe)
    change(given)
    with pytest.raises(ValueError, match=message):
        gpt.Decoder(recipe, given)


def test_every_problem_with_parameters_is_named():
    with pytest.raises(ValueError, match="head is missing; odd is not in the recipe; wte has shape"):
        gpt.Decoder(
            MICROGPT.edited(STRESS),
            {k: v for k, v in parameters(MICROGPT.edited(STRESS | {"vocab_size": 15})).items() if k != "lm_head"}
            | {"odd": torch.zeros(1)},
        )


def test_attention_that_cannot_follow_is_refused_at_once():
    for options in ({"attention": "sdpa", "edits": {"attention_mask": "none"}}, {"attention": "flash"}):
        with pytest.raises(ValueError, match="attention by"):
            decoder(**options)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([13, 14]), "ids in 0 .. 13"),
        (torch.tensor([13, -1]), "lie in -1"),
        (torch.tensor([13.0, 1.0]), "Give torch.int64"),
        (torch.tensor([13, 1], dtype=torch.int32), "Give torch.int64"),
        (torch.tensor([], dtype=torch.int64), "Give torch.int64"),
        (torch.zeros(1, 1, 2, dtype=torch.int64), "Give torch.int64"),
        (torch.tensor(13), "Give torch.int64"),
        (torch.zeros(8, dtype=torch.int64), "more than the block size, 7"),
        (torch.zeros(2, 8, dtype=torch.int64), "more than the block size, 7"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(tokens, message):
    for edits in ({}, {"position": "none"}):
        with pytest.raises(ValueError, match=message):
            decoder(edits).logits(tokens)


@pytest.mark.parametrize("tokens", [[13], [[13, 1]], [13, 1, 14], [13, 1, -100]])
def test_documents_that_do_not_fit_are_refused(tokens):
    with pytest.raises(ValueError, match=r"at least two tokens|ids in"):
        decoder().loss(torch.tensor(tokens))

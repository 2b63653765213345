import itertools
import math

import pytest
import torch

from reference import components, papers
from reference.recipe import MICROGPT

torch.set_num_threads(1)  # threads that wait for each other cost more than these tensors do

BOUND = 2**12 * 2**-53
MASKS = {
    "causal": ["100000", "110000", "111000", "111100", "111110", "111111"],
    "none": ["111111"] * 6,
    "one ahead": ["110000", "111000", "111100", "111110", "111111", "111111"],
    "past only": ["100000", "100000", "110000", "111000", "111100", "111110"],
    "self only": ["100000", "010000", "001000", "000100", "000010", "000001"],
    "window of 4": ["100000", "110000", "111000", "111100", "011110", "001111"],
}


def normal(*shape, seed=0, std=1.0):
    generator = torch.Generator().manual_seed(seed)
    return std * torch.randn(*shape, generator=generator, dtype=torch.float64)


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


def assert_close(got, wanted, bound=BOUND):
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype == torch.float64
    assert torch.isfinite(wanted).all()
    assert wanted.abs().max() > 0
    assert (got - wanted).abs().max() <= bound * wanted.abs().max()


def value_and_gradients(function, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, normal(*out.shape, seed=99))]


# --- attention --------------------------------------------------------------------------------------------------------


def naive_attention(q, k, v, recipe):
    """[T, C] lists by definition: the mask as drawn above, every softmax group gathered by hand."""
    length, size, n_head = len(q), len(q[0]) // recipe.n_head, recipe.n_head
    mask, after = MASKS[recipe.attention_mask], recipe.attention_mask_place == "after softmax"
    scale = {
        "1/sqrt(D)": size**-0.5,
        "1/sqrt(C)": (size * n_head) ** -0.5,
        "1/sqrt(H)": n_head**-0.5,
        "1/D": size**-1,
        "sqrt(D)": size**0.5,
        "1": 1,
    }[recipe.attention_scale]
    cells = list(itertools.product(range(n_head), range(length), range(length)))
    exps = {}
    for h, i, j in cells:
        legal = mask[i][j] == "1"
        dot = sum(q[i][h * size + c] * k[j][h * size + c] for c in range(size))
        exps[h, i, j] = math.exp(dot * scale) if legal or after else 0.0
    group = {"keys": lambda h, i, j: (h, i), "queries": lambda h, i, j: (h, j), "heads": lambda h, i, j: (i, j)}
    totals = {}
    for cell in cells:
        key = group[recipe.attention_softmax](*cell)
        totals[key] = totals.get(key, 0.0) + exps[cell]
    out = [[0.0] * len(q[0]) for _ in q]
    for h, i, j in cells:
        total = totals[group[recipe.attention_softmax](h, i, j)]
        weight = exps[h, i, j] / total if mask[i][j] == "1" else 0.0
        for c in range(h * size, (h + 1) * size):
            out[i][c] += weight * v[j][c]
    return out


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("over", ["keys", "queries", "heads"])
@pytest.mark.parametrize("place", ["before softmax", "after softmax"])
def test_every_attention_by_definition(mask, over, place):
    q, k, v = (normal(6, 12, seed=s) for s in (1, 2, 3))
    for scale in ("1/sqrt(D)", "1/sqrt(C)", "1/sqrt(H)", "1/D", "sqrt(D)", "1"):
        edits = {"attention_mask": mask, "attention_softmax": over, "attention_mask_place": place}
        recipe = MICROGPT.edited(edits | {"n_embd": 12, "n_head": 3, "attention_scale": scale})
        wanted = tensor(naive_attention(q.tolist(), k.tolist(), v.tolist(), recipe))
        for how in components.ATTENTIONS:
            try:
                components.check_attention(recipe, how)
            except ValueError:
                with pytest.raises(ValueError, match="cannot follow"):
                    components.attention(q, k, v, recipe, how)
                assert how != "mask"
            else:
                assert_close(components.attention(q, k, v, recipe, how), wanted)


@pytest.mark.parametrize("n_head", [1, 3, 4])
@pytest.mark.parametrize("std", [1e-3, 1.0, 6.0])
def test_mask_cache_sdpa_and_the_paper_are_one_function(n_head, std):
    recipe = MICROGPT.edited({"n_embd": 12, "n_head": n_head})
    leaves = [normal(2, 7, 12, seed=s, std=std) for s in (1, 2, 3)]
    found = {
        how: value_and_gradients(lambda *x, how=how: components.attention(*x, recipe, how), *leaves)
        for how in components.ATTENTIONS
    }
    for how in ("cache", "sdpa"):
        for got, wanted in zip(found[how], found["mask"], strict=True):
            assert_close(got, wanted)
    for n in range(2):
        paper = papers.causal_self_attention(*(x[n].tolist() for x in leaves), n_head, math)
        assert_close(found["mask"][0][n], tensor(paper))


@pytest.mark.parametrize("mask", ["causal", "past only", "self only", "window of 4"])
@pytest.mark.parametrize("over", ["keys", "heads"])
def test_the_cache_agrees_in_gradients_too(mask, over):
    recipe = MICROGPT.edited({"attention_mask": mask, "attention_softmax": over, "attention_scale": "1/D"})
    leaves = [normal(9, 16, seed=s) for s in (1, 2, 3)]
    by = [
        value_and_gradients(lambda *x, how=how: components.attention(*x, recipe, how), *leaves)
        for how in ("cache", "mask")
    ]
    for got, wanted in zip(*by, strict=True):
        if wanted.any():  # "self only" has no gradient by q and k
            assert_close(got, wanted)
        else:
            assert not got.any()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("over", ["keys", "queries", "heads"])
def test_attention_has_finite_and_right_gradients(mask, over):
    recipe = MICROGPT.edited({"n_embd": 4, "n_head": 2, "attention_mask": mask, "attention_softmax": over})
    leaves = tuple(normal(3, 4, seed=s).requires_grad_() for s in (1, 2, 3))
    assert torch.autograd.gradcheck(lambda *x: components.attention(*x, recipe), leaves, fast_mode=True)


@pytest.mark.parametrize("how", components.ATTENTIONS)
def test_the_future_has_exactly_no_influence(how):
    q, k, v = (normal(6, 16, seed=s) for s in (1, 2, 3))
    out = components.attention(q, k, v, MICROGPT, how)
    changed = [torch.cat([x[:4], 1e3 * normal(2, 16, seed=9)]) for x in (q, k, v)]
    assert torch.equal(components.attention(*changed, MICROGPT, how)[:4], out[:4])
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    part = components.attention(*leaves, MICROGPT, how)[:4]
    for slope in torch.autograd.grad(part, leaves, normal(4, 16)):
        assert not slope[4:].any()
        assert slope[1:4].any(dim=1).all()


@pytest.mark.parametrize("how", components.ATTENTIONS)
def test_scores_beyond_what_exp_can_hold(how):
    q, k = tensor([[1.0], [1e4], [-1e4]]), tensor([[1.0], [2.0], [3.0]])
    recipe = MICROGPT.edited({"n_embd": 1, "n_head": 1})
    got = components.attention(q, k, tensor([[5.0], [6.0], [7.0]]), recipe, how)
    assert got[:, 0].tolist() == [5.0, 6.0, 5.0]


@pytest.mark.parametrize("mask", MASKS)
def test_masks_as_drawn(mask):
    recipe = MICROGPT.edited({"attention_mask": mask})
    got = components.attention_mask(6, recipe)
    assert got.dtype == torch.bool
    assert ["".join("01"[int(x)] for x in row) for row in got] == MASKS[mask]
    assert components.attention_mask(1, recipe).tolist() == [[True]]
    with pytest.raises(ValueError, match="0 positions"):
        components.attention_mask(0, recipe)


def test_attention_refuses_what_does_not_fit():
    x = normal(3, 16)
    for how in ("", "Mask", "flash"):
        with pytest.raises(ValueError, match="It takes one of"):
            components.attention(x, x, x, MICROGPT, how)
    with pytest.raises(ValueError, match="not of one shape"):
        components.attention(x, x[:1], x[:1], MICROGPT)
    with pytest.raises(ValueError, match="not a multiple"):
        components.attention(x[:, :10], x[:, :10], x[:, :10], MICROGPT)


@pytest.mark.parametrize(
    ("edits", "refuses"),
    [
        ({"attention_mask": "none"}, {"cache", "sdpa"}),
        ({"attention_mask": "one ahead"}, {"cache", "sdpa"}),
        ({"attention_mask": "window of 4"}, {"sdpa"}),
        ({"attention_softmax": "queries"}, {"cache", "sdpa"}),
        ({"attention_softmax": "heads"}, {"sdpa"}),
        ({"attention_mask_place": "after softmax"}, {"cache", "sdpa"}),
        ({"attention_scale": "1"}, {"sdpa"}),
        ({"norm": "layer", "activation": "silu", "n_head": 2}, set()),
    ],
)
def test_which_way_follows_which_recipe(edits, refuses):
    recipe, refused = MICROGPT.edited(edits), set()
    for how in components.ATTENTIONS:
        try:
            components.check_attention(recipe, how)
        except ValueError:
            refused.add(how)
    assert refused == refuses


@pytest.mark.parametrize("how", components.ATTENTIONS)
def test_dropout_takes_its_share_of_the_weights(how):
    q = torch.zeros(300, 1, dtype=torch.float64)
    recipe = MICROGPT.edited({"n_embd": 1, "n_head": 1})
    torch.manual_seed(0)
    got = components.attention(q, q, torch.ones_like(q), recipe, how, dropout=0.25)
    assert got[1:].std() > 1e-3
    assert got[len(q) // 2 :].mean().item() == pytest.approx(1, abs=0.02)
    assert_close(components.attention(q, q, torch.ones_like(q), recipe, how), torch.ones_like(q))


# --- norm -------------------------------------------------------------------------------------------------------------

FACTORS = {
    ("root", "under root"): lambda ms, eps: (ms + eps) ** -0.5,
    ("root", "beside root"): lambda ms, eps: 1 / (ms**0.5 + eps),
    ("root", "maximum"): lambda ms, eps: max(ms, eps) ** -0.5,
    ("plain", "under root"): lambda ms, eps: 1 / (ms + eps),
    ("plain", "beside root"): lambda ms, eps: 1 / (ms + eps),
    ("plain", "maximum"): lambda ms, eps: 1 / max(ms, eps),
    ("multiply", "under root"): lambda ms, eps: (ms + eps) ** 0.5,
    ("multiply", "beside root"): lambda ms, eps: ms**0.5 + eps,
    ("multiply", "maximum"): lambda ms, eps: max(ms, eps) ** 0.5,
}


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("mean", ["n", "n - 1", "sum"])
@pytest.mark.parametrize(("root", "place"), FACTORS)
def test_every_norm_by_definition(kind, mean, root, place):
    edits = {"norm": kind, "norm_mean": mean, "norm_root": root, "norm_eps_place": place, "norm_eps": 1e-3}
    recipe = MICROGPT.edited(edits)
    gain, bias = normal(6, seed=7), normal(6, seed=8)
    for std in (1e-2, 0.03, 1.0, 1e3):
        x = normal(6, seed=1, std=std) + std / 2
        centred = (x - sum(x.tolist()) / 6 if kind == "layer" else x).tolist()
        divisor = {"n": 6, "n - 1": 5, "sum": 1}[mean]
        factor = FACTORS[root, place](sum(c * c for c in centred) / divisor, 1e-3)
        wanted = tensor([c * factor for c in centred])
        assert_close(components.norm(x, recipe), wanted)
        assert_close(components.norm(x, recipe, gain), wanted * gain)
        assert_close(components.norm(x, recipe, gain, bias), wanted * gain + bias)
        assert_close(components.norm(x, recipe, bias=bias), wanted + bias)
        assert_close(components.norm(x.expand(2, 3, 6), recipe), wanted.expand(2, 3, 6))
    leaves = (normal(2, 6).requires_grad_(), gain.clone().requires_grad_(), bias.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda x, g, b: components.norm(x, recipe, g, b), leaves, fast_mode=True)


@pytest.mark.parametrize("std", [1e-4, 1.0, 1e4])
def test_norms_are_the_papers(std):
    x, gain = normal(16, seed=4, std=std), normal(16, seed=5)
    rms = papers.rms_norm(x.tolist(), gain.tolist(), math, 1e-5)
    assert_close(components.norm(x, MICROGPT, gain), tensor(rms))
    layer = papers.layer_norm(x.tolist(), math, 1e-5)
    assert_close(components.norm(x, MICROGPT.edited({"norm": "layer"})), tensor(layer))


def test_no_norm_is_no_norm_and_zero_stays_zero():
    x = normal(3, 16)
    assert components.norm(x, MICROGPT.edited({"norm": "none", "norm_mean": "sum"})) is x
    for kind in ("rms", "layer"):
        assert not components.norm(torch.zeros_like(x), MICROGPT.edited({"norm": kind})).any()
    for name in ("gain", "bias"):
        for wrong in (x[0, :1], x, x[0, 0]):
            with pytest.raises(ValueError, match=name):
                components.norm(x, MICROGPT, **{name: wrong})


# --- the rest ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": papers.relu,
    "relu squared": lambda x: papers.relu(x) ** 2,
    "gelu tanh": lambda x: papers.gelu_tanh(x, math),
    "gelu erf": lambda x: papers.gelu(x, math),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "leaky relu": lambda x: x if x > 0 else x / 100,
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_definition(name):
    recipe = MICROGPT.edited({"activation": name})
    points = tensor([i / 10 for i in range(-80, 81)])
    assert 0.0 in points.tolist()
    assert_close(components.activation(points, recipe), tensor([float(ACTIVATIONS[name](x)) for x in points.tolist()]))
    away_from_kinks = (points + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: components.activation(x, recipe), away_from_kinks)


def test_relu_has_no_slope_at_zero():
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(components.activation(zero, MICROGPT), zero)[0].item() == 0


def test_linear_softmax_and_mlp():
    x, w, bias = normal(2, 3, 4), normal(5, 4, seed=1), normal(5, seed=2)
    plain = tensor([[papers.linear(row, w.tolist()) for row in rows] for rows in x.tolist()])
    assert_close(components.linear(x, w), plain)
    assert_close(components.linear(x, w, bias), plain + bias)
    with pytest.raises(RuntimeError):
        components.linear(x, w.T)
    z = normal(3, 27, std=20.0)
    assert_close(components.softmax(z), tensor([papers.softmax(row, math) for row in z.tolist()]))
    assert_close(components.softmax(z, 0), components.softmax(z.T).T)
    assert components.softmax(tensor([2000.0, 0.0, -2000.0])).tolist() == [1, 0, 0]
    fc1, fc2, bias1, bias2 = normal(16, 4), normal(4, 16), normal(16), normal(4)
    hidden = x @ fc1.T
    assert_close(components.mlp(x, fc1, fc2, MICROGPT), hidden.clamp(min=0) @ fc2.T)
    assert_close(components.mlp(x, fc1, fc2, MICROGPT, bias1, bias2), (hidden + bias1).clamp(min=0) @ fc2.T + bias2)


@pytest.mark.parametrize("std", [0.1, 30.0])
def test_the_loss_is_the_papers(std):
    logits, targets = normal(5, 27, std=std), torch.tensor([0, 26, 3, 3, 9])
    each = [papers.cross_entropy(row, t, math) for row, t in zip(logits.tolist(), targets.tolist(), strict=True)]
    assert_close(components.next_token_loss(logits, targets, MICROGPT), tensor(sum(each) / 5))
    assert_close(components.next_token_loss(logits, targets, MICROGPT.edited({"loss": "sum"})), tensor(sum(each)))


@pytest.mark.parametrize(
    ("error", "shape", "targets"),
    [
        (ValueError, (3, 4), [0, 1]),
        (ValueError, (3, 4), [[0], [1], [2]]),
        (ValueError, (4,), [0]),
        (ValueError, (2, 3, 4), [0, 1]),
        (ValueError, (0, 4), []),
        (IndexError, (2, 4), [0, -1]),
        (IndexError, (2, 4), [0, -100]),
        (IndexError, (2, 4), [0, 4]),
    ],
)
def test_the_loss_refuses_what_does_not_fit(error, shape, targets):
    with pytest.raises(error):
        components.next_token_loss(normal(*shape), torch.tensor(targets, dtype=torch.int64), MICROGPT)

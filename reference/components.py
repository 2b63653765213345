"""The parts of a small GPT in float64, each driven by a recipe; PyTorch's own routine wherever it has one.

Letters: T positions, C width of the stream, H heads, D = C / H, V vocabulary, N sequences. "..." is any number of
leading sizes. Every tensor of numbers is torch.float64; where tensors disagree in shape or dtype and nothing else is
said, it is PyTorch that raises its RuntimeError.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reference.recipe import Recipe

ATTENTIONS = ("mask", "cache", "sdpa")
_STANDARD_ATTENTION = {
    "attention_scale": "1/sqrt(D)",
    "attention_mask": "causal",
    "attention_softmax": "keys",
    "attention_mask_place": "before softmax",
}
_SOFTMAX_DIM = {"keys": -1, "queries": -2, "heads": -3}  # of scores [..., H, T, T]


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + bias: x [..., n_in], w [n_out, n_in], bias [n_out], the result [..., n_out]; float64.

    Source: `torch.nn.functional.linear`. Raises RuntimeError where sizes disagree.
    """
    return functional.linear(x, w, bias)


def softmax(z: Tensor, dim: int = -1) -> Tensor:
    """exp(z_i) / sum_j exp(z_j) along dim: [...] to [...]; float64.

    Source: `torch.softmax`, which takes the maximum off first. Raises IndexError for a dim that z does not have.
    """
    return torch.softmax(z, dim)


def norm(x: Tensor, recipe: Recipe, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """gain x / sqrt(1/C sum_i x_i^2 + eps) + bias; norm "layer" takes the mean off x first, "none" returns x.

    x [..., C], gain and bias [C], the result [..., C]; float64. Sources: Zhang & Sennrich 2019, eq. 4, as
    `torch.nn.functional.rms_norm`, and Ba et al. 2016, eq. 3 and 4, as `torch.nn.functional.layer_norm`, both with eps
    under the root; what norm_mean, norm_root and norm_eps_place change is written out. With eps beside the root, the
    gradient at x = 0 is NaN. Raises ValueError for a gain or a bias that is not [C].
    """
    width = x.shape[-1]
    for name, tensor in (("gain", gain), ("bias", bias)):
        if tensor is not None and tensor.shape != (width,):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}. The norm of a width of {width} takes ({width},)")
    if recipe.norm == "none":
        return x
    if (recipe.norm_mean, recipe.norm_root, recipe.norm_eps_place) != ("n", "root", "under root"):
        normed = _unusual_norm(x, recipe)
    elif recipe.norm == "layer":
        return functional.layer_norm(x, (width,), gain, bias, recipe.norm_eps)
    else:
        normed = functional.rms_norm(x, (width,), eps=recipe.norm_eps)
    normed = normed if gain is None else normed * gain
    return normed if bias is None else normed + bias


def _unusual_norm(x: Tensor, recipe: Recipe) -> Tensor:
    """x [..., C] over its size, as the recipe measures it: another divisor, no root, eps elsewhere, or times it."""
    width = x.shape[-1]
    if recipe.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    divisor = {"n": width, "n - 1": width - 1, "sum": 1}[recipe.norm_mean]
    size = (x * x).sum(-1, keepdim=True) / divisor
    if recipe.norm_eps_place == "maximum":
        size = size.clamp(min=recipe.norm_eps)
    elif recipe.norm_eps_place == "under root":
        size = size + recipe.norm_eps
    if recipe.norm_root != "plain":
        size = size.sqrt()
    if recipe.norm_eps_place == "beside root":
        size = size + recipe.norm_eps
    return x * size if recipe.norm_root == "multiply" else x / size


def activation(x: Tensor, recipe: Recipe) -> Tensor:
    """The recipe's function of each number: [...] to [...]; float64.

    max(0, x) and its square; x Phi(x) and its tanh form (Hendrycks & Gimpel 2016, section 2); x sigmoid(x); x or
    0.01 x; x. Sources: `torch.relu` and `gelu`, `silu`, `leaky_relu` of `torch.nn.functional`. Raises nothing.
    """
    match recipe.activation:
        case "relu":
            return torch.relu(x)
        case "relu squared":
            return torch.relu(x) ** 2
        case "gelu tanh":
            return functional.gelu(x, approximate="tanh")
        case "gelu erf":
            return functional.gelu(x)
        case "silu":
            return functional.silu(x)
        case "leaky relu":
            return functional.leaky_relu(x, 0.01)
        case "identity":
            return x


def attention_mask(length: int, recipe: Recipe) -> Tensor:
    """mask[i, j] is True where position i may attend to j: [T, T], bool. Every row has at least one True.

    "causal" is j <= i (Vaswani et al. 2017, section 3.2.3), "none" all, "one ahead" j <= i + 1, "past only" j < i, but
    for position 0, which has no past and attends to itself; "self only" j = i, "window of 4" i - 4 < j <= i.
    Raises ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"a mask for {length} positions. It takes 1 or more")
    i, j = torch.arange(length)[:, None], torch.arange(length)[None, :]
    match recipe.attention_mask:
        case "causal":
            return j <= i
        case "none":
            return torch.ones(length, length, dtype=torch.bool)
        case "one ahead":
            return j <= i + 1
        case "past only":
            return (j < i) | ((i == 0) & (j == 0))
        case "self only":
            return i == j
        case "window of 4":
            return (j <= i) & (j > i - 4)


def check_attention(recipe: Recipe, how: str) -> None:
    """Refuse a way to compute attention that is unknown, or that cannot follow the recipe (ValueError).

    The cache never holds what is to come, so it has no mask that shows it, no softmax over queries, and no mask after
    the softmax; `scaled_dot_product_attention` is asked for the standard attention alone. No tensors; the rule is
    this module's own.
    """
    if how not in ATTENTIONS:
        raise ValueError(f"attention by {how!r}. It takes one of: {', '.join(map(repr, ATTENTIONS))}")
    wrong = {field: getattr(recipe, field) for field, value in _STANDARD_ATTENTION.items()}
    wrong = {field: value for field, value in wrong.items() if value != _STANDARD_ATTENTION[field]}
    if how == "cache":
        wrong.pop("attention_scale", None)
        if recipe.attention_mask not in ("none", "one ahead"):
            wrong.pop("attention_mask", None)
        if recipe.attention_softmax == "heads":
            wrong.pop("attention_softmax")
    if how != "mask" and wrong:
        named = ", ".join(f"{field} {value!r}" for field, value in wrong.items())
        raise ValueError(f"attention by {how!r} cannot follow {named}. 'mask' follows every recipe")


def attention(q: Tensor, k: Tensor, v: Tensor, recipe: Recipe, how: str = "mask", dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(D)) v in each of H heads, which are contiguous slices of the C channels, side by side.

    q, k and v [..., T, C], the result [..., T, C]; float64. how is "mask" (minus infinity added to illegal scores),
    "cache" (position by position over keys and values appended so far) or "sdpa"
    (`torch.nn.functional.scaled_dot_product_attention`). A softmax over nothing legal gives zeros. dropout is the
    share of weights dropped. Source: Vaswani et al. 2017, eq. 1, sections 3.2.2 and 3.2.3. Raises ValueError where
    shapes differ, n_head does not divide C, or `check_attention` does.
    """
    check_attention(recipe, how)
    if not q.shape == k.shape == v.shape:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} are not of one shape")
    if q.shape[-1] % recipe.n_head:
        raise ValueError(f"a width of {q.shape[-1]} is not a multiple of n_head {recipe.n_head}")
    q, k, v = (x.reshape(*x.shape[:-1], recipe.n_head, -1).transpose(-3, -2) for x in (q, k, v))  # [..., H, T, D]
    if how == "sdpa":
        heads = functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    elif how == "cache":
        heads = _attend_cached(q, k, v, recipe, dropout)
    else:
        heads = _attend_masked(q, k, v, recipe, dropout)
    return heads.transpose(-3, -2).flatten(-2)


def _scale(recipe: Recipe, head_size: int) -> float:
    """What scores are multiplied by."""
    return {
        "1/sqrt(D)": 1 / math.sqrt(head_size),
        "1/sqrt(C)": 1 / math.sqrt(recipe.n_head * head_size),
        "1/sqrt(H)": 1 / math.sqrt(recipe.n_head),
        "1/D": 1 / head_size,
        "sqrt(D)": math.sqrt(head_size),
        "1": 1.0,
    }[recipe.attention_scale]


def _attend_masked(q: Tensor, k: Tensor, v: Tensor, recipe: Recipe, dropout: float) -> Tensor:
    """Attention of all positions at once: [..., H, T, D] each, [..., H, T, D]."""
    scores = q @ k.transpose(-2, -1) * _scale(recipe, q.shape[-1])
    mask = attention_mask(q.shape[-2], recipe).expand(scores.shape)
    dim = _SOFTMAX_DIM[recipe.attention_softmax]
    if recipe.attention_mask_place == "after softmax":
        weights = softmax(scores, dim) * mask
    else:
        # Over queries or heads a whole softmax can be illegal. Its scores stay, lest it be 0/0, and its weights go.
        nothing = ~mask.any(dim, keepdim=True)
        added = torch.zeros_like(scores).masked_fill(~mask & ~nothing, -torch.inf)
        weights = softmax(scores + added, dim).masked_fill(nothing, 0.0)
    return functional.dropout(weights, dropout) @ v


def _attend_cached(q: Tensor, k: Tensor, v: Tensor, recipe: Recipe, dropout: float) -> Tensor:
    """Attention position by position, [..., H, T, D] each, [..., H, T, D]: the future is not in the cache yet."""
    keys: list[Tensor] = []
    values: list[Tensor] = []
    heads = []
    for t in range(q.shape[-2]):
        keys.append(k[..., t, :])
        values.append(v[..., t, :])
        seen = {
            "causal": slice(0, t + 1),
            "past only": slice(0, max(t, 1)),
            "self only": slice(t, t + 1),
            "window of 4": slice(max(t - 3, 0), t + 1),
        }[recipe.attention_mask]
        now = q[..., t : t + 1, :]
        scores = now @ torch.stack(keys[seen], -1) * _scale(recipe, q.shape[-1])
        weights = softmax(scores, _SOFTMAX_DIM[recipe.attention_softmax])
        heads.append(functional.dropout(weights, dropout) @ torch.stack(values[seen], -2))
    return torch.cat(heads, -2)


def mlp(
    x: Tensor,
    fc1: Tensor,
    fc2: Tensor,
    recipe: Recipe,
    fc1_bias: Tensor | None = None,
    fc2_bias: Tensor | None = None,
) -> Tensor:
    """fc2 activation(fc1 x + fc1_bias) + fc2_bias: x [..., C], fc1 [4C, C], fc2 [C, 4C], the result [..., C]; float64.

    Source: Vaswani et al. 2017, eq. 2, with the recipe's activation. Raises RuntimeError where sizes disagree.
    """
    return linear(activation(linear(x, fc1, fc1_bias), recipe), fc2, fc2_bias)


def next_token_loss(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """The mean over positions, or their sum, of -log softmax(logits)[target]: [T, V] and [T] (int64) to []; float64.

    Source: `torch.nn.functional.cross_entropy`. Raises ValueError where shapes do not fit or there is no position,
    IndexError for a target that is not in 0 .. V-1.
    """
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or not len(targets):
        raise ValueError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} are not [T, V] and [T]")
    # PyTorch leaves a target of -100 out without a word.
    if int(targets.min()) < 0:
        raise IndexError(f"target {int(targets.min())} is negative")
    return functional.cross_entropy(logits, targets, reduction=recipe.loss)

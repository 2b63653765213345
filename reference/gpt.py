"""The whole decoder of a recipe, batched, in float64.

Letters: T positions, C width of the stream, L layers, V vocabulary, B block size, N sequences.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from reference import components
from reference.recipe import Recipe


class Decoder:
    """One small GPT: a recipe and its parameters, which become leaves of their own (copies, float64).

    Source: Radford et al. 2019, section 2.3, for the order of the parts; the recipe's fields for what departs from it.
    Raises ValueError for parameters other than `recipe.parameter_shapes()` names, for another dtype, and for a way to
    compute attention that cannot follow the recipe. Dropout acts only where `training` is set, in GPT-2's places:
    embeddings, attention weights, and the output of both branches; it draws from PyTorch's global generator.
    """

    def __init__(
        self, recipe: Recipe, parameters: Mapping[str, Tensor], attention: str = "mask", training: bool = False
    ) -> None:
        components.check_attention(recipe, attention)
        _check_parameters(recipe, parameters)
        self.recipe = recipe
        self.attention = attention
        self.dropout = recipe.dropout if training else 0.0
        self.parameters = {
            name: parameters[name].detach().clone().requires_grad_() for name in recipe.parameter_shapes()
        }

    def logits(self, tokens: Tensor) -> Tensor:
        """The logits of each next token: tokens [T] or [N, T] (int64), T <= B, to [T, V] or [N, T, V]; float64.

        Source: `stages`, which gives the formula and the errors.
        """
        return self.stages(tokens)["logits"]

    def loss(self, tokens: Tensor) -> Tensor:
        """The loss of one document: tokens [T + 1] (int64) to [], float64; what lies beyond B + 1 tokens is ignored.

        The mean (or sum) over t < min(B, len - 1) of -log softmax(logits_t)[tokens_(t+1)]. Source: Radford et al.
        2018, eq. 1, and `torch.nn.functional.cross_entropy`. Raises ValueError for fewer than two tokens, and as
        `stages` does.
        """
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"a document of shape {tuple(tokens.shape)}. Give one vector of at least two tokens")
        self._check_tokens(tokens[: self.recipe.block_size + 1])
        length = min(self.recipe.block_size, len(tokens) - 1)
        return components.next_token_loss(self.logits(tokens[:length]), tokens[1 : length + 1], self.recipe)

    def stages(self, tokens: Tensor) -> dict[str, Tensor]:
        """What the forward pass computes, by name and in order: tokens [T] or [N, T] to [..., T, C]; float64.

        x = wte[token] + wpe[position] ("embedding") and its norm ("embedding_norm"); in each layer, with its number
        before the name, x += f(norm(x)) for attention ("attention_in" and "attention_out" are what f takes and gives,
        "attention_sum" is the new x) and for the MLP (likewise); "final" is what the head takes, "logits"
        [..., T, V] are head x. With norm_order "post", x = norm(x + f(x)). Source: Radford et al. 2019, section 2.3;
        the post order is that of Vaswani et al. 2017, section 3.1. Raises ValueError for tokens of another dtype or
        shape, outside 0 .. V-1, or longer than B.
        """
        self._check_tokens(tokens)
        length = tokens.shape[-1]
        if length > self.recipe.block_size:
            raise ValueError(f"{length} positions are more than the block size, {self.recipe.block_size}")
        stages: dict[str, Tensor] = {}
        x = functional.embedding(tokens, self.parameters["wte"])
        if self.recipe.position != "none":
            late = self.recipe.position == "one late"
            positions = (torch.arange(length) + late).clamp(max=self.recipe.block_size - 1)
            x = x + functional.embedding(positions, self.parameters["wpe"])
        x = stages["embedding"] = functional.dropout(x, self.dropout)
        if self.recipe.embedding_norm:
            x = stages["embedding_norm"] = self._norm(x, "embedding_norm")
        for layer in range(self.recipe.n_layer):
            x = self._branch(x, f"layer{layer}.", "attention", "norm1", self._attention, stages)
            if layer == self.recipe.n_layer - 1 and self._final_norm("after last attention"):
                x = stages[f"layer{layer}.attention_sum"] = self._norm(x, "final_norm")
            x = self._branch(x, f"layer{layer}.", "mlp", "norm2", self._mlp, stages)
        x = stages["final"] = self._norm(x, "final_norm") if self._final_norm("after last block") else x
        stages["logits"] = components.linear(x, self.parameters["wte" if self.recipe.tied_head else "lm_head"])
        return stages

    def _branch(
        self,
        x: Tensor,
        layer: str,
        name: str,
        norm: str,
        compute: Callable[[Tensor, str], Tensor],
        stages: dict[str, Tensor],
    ) -> Tensor:
        """The stream after one branch, normed before it or after the sum: [..., T, C] to [..., T, C]."""
        is_pre = self.recipe.norm_order == "pre"
        inside = stages[f"{layer}{name}_in"] = self._norm(x, layer + norm) if is_pre else x
        outside = stages[f"{layer}{name}_out"] = functional.dropout(compute(inside, layer), self.dropout)
        x = x + outside if is_pre else self._norm(x + outside, layer + norm)
        stages[f"{layer}{name}_sum"] = x
        return x

    def _final_norm(self, place: str) -> bool:
        return self.recipe.final_norm and self.recipe.final_norm_place == place

    def _norm(self, x: Tensor, name: str) -> Tensor:
        gain, bias = self.parameters.get(f"{name}.gain"), self.parameters.get(f"{name}.bias")
        return components.norm(x, self.recipe, gain, bias)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return components.linear(x, self.parameters[name], self.parameters.get(f"{name}.bias"))

    def _attention(self, x: Tensor, layer: str) -> Tensor:
        q, k, v = (self._linear(x, f"{layer}attn_w{which}") for which in "qkv")
        heads = components.attention(q, k, v, self.recipe, self.attention, self.dropout)
        return self._linear(heads, f"{layer}attn_wo")

    def _mlp(self, x: Tensor, layer: str) -> Tensor:
        fc1, fc2 = f"{layer}mlp_fc1", f"{layer}mlp_fc2"
        weights, biases = self.parameters, (self.parameters.get(f"{fc1}.bias"), self.parameters.get(f"{fc2}.bias"))
        return components.mlp(x, weights[fc1], weights[fc2], self.recipe, *biases)

    def _check_tokens(self, tokens: Tensor) -> None:
        """ValueError for what is not a vector or a batch of token ids."""
        if tokens.dtype != torch.int64 or tokens.ndim not in (1, 2) or not tokens.numel():
            raise ValueError(f"tokens are {tokens.dtype} {tuple(tokens.shape)}. Give torch.int64 [T] or [N, T]")
        lowest, highest = int(tokens.min()), int(tokens.max())
        if lowest < 0 or highest >= self.recipe.vocab_size:
            raise ValueError(f"tokens lie in {lowest} .. {highest}, ids in 0 .. {self.recipe.vocab_size - 1}")


def gradients(decoder: Decoder, tokens: Tensor) -> dict[str, Tensor]:
    """d loss / d parameter for one document: tokens [T + 1] (int64) to every parameter's name and shape; float64.

    What the loss does not depend on has a gradient of zeros. Source: `torch.autograd.grad`. Raises ValueError as
    `Decoder.loss` does.
    """
    leaves = decoder.parameters
    found = torch.autograd.grad(decoder.loss(tokens), list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _check_parameters(recipe: Recipe, parameters: Mapping[str, Tensor]) -> None:
    """ValueError that names what is missing, extra, of the wrong shape or of the wrong dtype."""
    shapes = recipe.parameter_shapes()
    problems = [f"{name} is missing" for name in shapes if name not in parameters]
    problems += [f"{name} is not in the recipe" for name in parameters if name not in shapes]
    for name in shapes.keys() & parameters.keys():
        tensor = parameters[name]
        if tuple(tensor.shape) != shapes[name]:
            problems.append(f"{name} has shape {tuple(tensor.shape)}, not {shapes[name]}")
        if tensor.dtype != torch.float64:
            problems.append(f"{name} is {tensor.dtype}, not torch.float64")
    if problems:
        raise ValueError("parameters do not fit the recipe: " + "; ".join(sorted(problems)))

"""Training and sampling with a whole decoder, vectorised, in float64: what a loop over scalars has to equal.

Letters: n parameters in one flat vector, k steps, N documents, B block size.
"""

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reference import adam
from reference.components import softmax
from reference.gpt import Decoder, gradients
from reference.recipe import Recipe


def train(
    recipe: Recipe, parameters: Mapping[str, Tensor], documents: Sequence[Tensor], steps: int, attention: str = "mask"
) -> tuple[Tensor, dict[str, Tensor]]:
    """The losses of the first k steps, [k], and the parameters after the last, of their shapes; float64.

    Step s takes document s mod N (tokens, int64) and the rate of step s of the recipe's num_steps. The forward pass is
    `Decoder`'s, which `attention` is handed to, the gradients autograd's, the update `adam.trajectory`'s
    (`torch.optim.Adam` where it has the recipe's fields). Raises ValueError for more steps than the schedule has, and
    as `Decoder` does.
    """
    now = {name: parameters[name] for name in recipe.parameter_shapes()}
    sizes = [tensor.numel() for tensor in now.values()]
    m = v = torch.zeros(sum(sizes), dtype=torch.float64)
    losses = []
    for step in range(steps):
        decoder, document = Decoder(recipe, now, attention), documents[step % len(documents)]
        losses.append(decoder.loss(document).detach())
        found = gradients(decoder, document)
        theta, gradient = (torch.cat([table[name].flatten() for name in now]).detach() for table in (now, found))
        rate = adam.learning_rate_at(recipe, step)
        after = adam.trajectory(recipe, theta, gradient[None], [rate], m, v, step)
        m, v = after["m"][0], after["v"][0]
        pieces = torch.split(after["parameters"][0], sizes)
        now = {name: piece.view(now[name].shape) for name, piece in zip(now, pieces, strict=True)}
    return torch.stack(losses), now


def sample(recipe: Recipe, parameters: Mapping[str, Tensor], temperature: float, stream: random.Random) -> list[int]:
    """One document, token by token, from BOS (the last id) until BOS comes again or B tokens are there: without BOS.

    Each is drawn by `random.Random.choices` with the weights softmax(logits / temperature), the logits being those of
    the last position of the whole prefix, computed anew each time. float64. Raises ValueError as `Decoder` does, and
    ZeroDivisionError for a temperature of 0.
    """
    decoder, bos = (
        Decoder(recipe, {name: parameters[name] for name in recipe.parameter_shapes()}),
        recipe.vocab_size - 1,
    )
    prefix = [bos]
    with torch.no_grad():
        while len(prefix) <= recipe.block_size:
            logits = decoder.logits(torch.tensor(prefix))[-1]
            weights = softmax(logits * (1 / temperature)).tolist()
            (token,) = stream.choices(range(recipe.vocab_size), weights=weights)
            if token == bos:
                break
            prefix.append(token)
    return prefix[1:]

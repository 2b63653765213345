"""What a mask is for: without one, a decoder that is to predict the next token copies it from its own input.

Letters: N documents, T positions, V vocabulary.
"""

import math

import torch

from reference.gpt import Decoder
from reference.recipe import Recipe

SIZES = {"vocab_size": 8, "n_embd": 16, "n_head": 2, "n_layer": 2, "block_size": 8}
DOCUMENTS, RATE = 32, 0.02


def loss_above_entropy(recipe: Recipe, steps: int, seed: int) -> float:
    """Mean next-token loss on fresh uniform random tokens after some steps of training on others, less ln V; nats.

    Tokens that are drawn independently cannot be predicted from earlier ones, so that no decoder that sees only those
    falls below the entropy ln V, however it is trained (Shannon 1948). float64; N 32, T 8, V 8.
    Raises ValueError for a recipe that cannot be built.
    """
    recipe = recipe.edited(SIZES)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in recipe.parameter_shapes().items()
    }
    decoder = Decoder(recipe, weights)
    optimizer = torch.optim.Adam(decoder.parameters.values(), lr=RATE, foreach=False)
    for _ in range(steps):
        loss = _loss(decoder, generator)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return float(_loss(decoder, generator)) - math.log(recipe.vocab_size)


def _loss(decoder: Decoder, generator: torch.Generator) -> torch.Tensor:
    """Mean cross-entropy of N fresh documents of T tokens and a last target."""
    size, block = decoder.recipe.vocab_size, decoder.recipe.block_size
    tokens = torch.randint(size, (DOCUMENTS, block + 1), generator=generator)
    logits = decoder.logits(tokens[:, :-1])
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

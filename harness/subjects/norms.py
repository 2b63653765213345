"""Where a model's norms stand, read from the stages of its forward pass. Shapes: T x C."""

from typing import Any

import torch

from harness.subjects.base import Inputs
from harness.subjects.numbers import tensor
from reference.recipe import Recipe

Answer = dict[str, Any]


def norm_distances(stages: Answer, recipe: Recipe, inputs: Inputs) -> Answer:
    """How far what is received is from a LayerNorm of what came before, wherever a norm could stand.

    "before": what each sub-block receives, from the norm of the stream; "after": the stream that it leaves, from the
    norm of the sum; "head": what the head takes, from the final norm of the last block's output; "head bare": from
    that output itself. Two numbers a layer, then one; largest absolute difference.
    """
    weights = {name: tensor(rows) for name, rows in inputs["weights"].items() if "norm" in name}

    def normed(x: Any, name: str) -> Any:
        gain, bias = (weights.get(f"{name}.{part}") for part in ("gain", "bias"))
        return torch.nn.functional.layer_norm(x, x.shape[-1:], gain, bias, recipe.norm_eps)

    answer: Answer = {"before": [], "after": []}
    stream = stages["embedding"]
    for layer in range(recipe.n_layer):
        for number, part in enumerate(("attention", "mlp"), start=1):
            received, gave, left = (stages[f"layer{layer}.{part}_{which}"] for which in ("in", "out", "sum"))
            norm = f"layer{layer}.norm{number}"
            answer["before"].append(_apart(received, normed(stream, norm)))
            answer["after"].append(_apart(left, normed(stream + gave, norm)))
            stream = left
    answer["head"] = _apart(stages["final"], normed(stream, "final_norm"))
    answer["head bare"] = _apart(stages["final"], stream)
    return answer


def _apart(a: Any, b: Any) -> float:
    return float((a - b).detach().abs().max())

"""A program of scalar operations under PyTorch's autograd, node by node, in float64. n is the number of nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "a + b": torch.add,
    "a - b": torch.sub,
    "a * b": torch.mul,
    "a / b": torch.div,
    "a + c": torch.add,
    "c + a": lambda a, c: torch.add(torch.full_like(a, c), a),
    "a - c": torch.sub,
    "c - a": torch.rsub,
    "a * c": torch.mul,
    "c * a": lambda a, c: torch.mul(torch.full_like(a, c), a),
    "a / c": torch.div,
    "c / a": lambda a, c: torch.div(torch.full_like(a, c), a),
    "a ** c": torch.pow,
    "-a": torch.neg,
    "log a": torch.log,
    "exp a": torch.exp,
    "relu a": torch.relu,
}


def evaluate(
    leaves: Sequence[float], program: Sequence[Sequence[Any]], cotangent: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Value of every node, and the gradient of sum_i cotangent_i node_i by it: [n] each, float64.

    The first nodes are the leaves; each row of the program, ``[operation, operands, constant]``, adds one, made of
    earlier ones. Source: `torch.autograd.grad`. Raises KeyError for an unknown operation, IndexError for an operand
    that is not there yet, ValueError where there is not one cotangent a node.
    """
    nodes = [torch.tensor(leaf, dtype=torch.float64, requires_grad=True) for leaf in leaves]
    for operation, operands, constant in program:
        plain = [] if constant is None else [constant]
        nodes.append(_OPERATIONS[operation](*(nodes[i] for i in operands), *plain))
    total = torch.stack([node * weight for node, weight in zip(nodes, cotangent, strict=True)]).sum()
    gradients = torch.autograd.grad(total, nodes)
    return torch.stack(nodes).detach(), torch.stack(gradients)

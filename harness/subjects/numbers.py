"""Numbers between plain lists and tensors, for the subjects that compute with PyTorch."""

from typing import Any

import torch

torch.set_num_threads(1)  # the tensors are tiny: threads cost more than they bring


def tensor(nested: Any) -> torch.Tensor:
    """Nested lists as a float64 tensor of their shape."""
    return torch.tensor(nested, dtype=torch.float64)


def plain(array: Any) -> Any:
    """A tensor as a NumPy array of its own; anything else as it is."""
    return array.detach().numpy().copy() if isinstance(array, torch.Tensor) else array

"""What can be observed: anything that answers an observable with arrays."""

from collections.abc import Callable
from typing import Any, Protocol

from harness.results import Observation

Inputs = dict[str, Any]
Pending = Callable[[], Observation]
"""An observation that may still be under way; calling it waits."""


class Subject(Protocol):
    """Someone who answers observables."""

    def ask(self, observable: str, inputs: Inputs, reading: str = "float64") -> Pending:
        """Begin to observe; the answer, or why there is none, is in the observation. Nothing is raised."""
        ...

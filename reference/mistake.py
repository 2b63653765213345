"""What a known mistake is: an edit of a recipe, a patch of microgpt's source, a patch of Hugging Face's module."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Patch:
    """One edit of a source: `old` occurs in it exactly once."""

    old: str
    new: str

    def apply(self, source: str) -> str:
        """The patched source; ValueError unless `old` occurs exactly once."""
        count = source.count(self.old)
        if count != 1:
            raise ValueError(f"the text of the patch occurs {count} times, not once: {self.old!r}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class ModulePatch:
    """One edit of a file of transformers' GPT-2; releases word the same statement differently, so there may be several.

    `file` is modeling_gpt2 or configuration_gpt2.
    """

    file: str
    alternatives: tuple[Patch, ...]

    def apply(self, source: str) -> str:
        """The patched source; ValueError unless exactly one alternative fits it."""
        fitting = [patch for patch in self.alternatives if source.count(patch.old) == 1]
        if len(fitting) != 1:
            raise ValueError(
                f"{len(fitting)} of {len(self.alternatives)} texts fit this release of {self.file}, not one"
            )
        return fitting[0].apply(source)


@dataclass(frozen=True)
class Mistake:
    """A known mistake: the component that it is in, one sentence, and how it is made."""

    component: str
    sentence: str
    recipe: dict[str, Any] = field(default_factory=dict)
    patch: Patch | None = None
    module: ModulePatch | None = None
    seen: str = ""


def edited(text: str, *edits: tuple[str, str]) -> str:
    """`text` with each of several pieces exchanged."""
    for old, new in edits:
        text = text.replace(old, new)
    return text

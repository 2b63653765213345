"""The named counterexamples: mistakes that real implementations make, from the catalogues beside this file.

A mistake is an edit of a recipe, observed through the PyTorch decoder, or a patch: of microgpt's own source, which is
run in its place, or of Hugging Face's module, executed beside it. `seen` names a public instance.
"""

from reference.catalogue_autograd import AUTOGRAD_MISTAKES
from reference.catalogue_gpt2 import GPT2_MISTAKES
from reference.catalogue_microgpt import MICROGPT_MISTAKES
from reference.catalogue_program import PROGRAM_MISTAKES
from reference.mistake import Mistake, ModulePatch, Patch

MISTAKES: dict[str, Mistake] = {
    **MICROGPT_MISTAKES,
    **AUTOGRAD_MISTAKES,
    **PROGRAM_MISTAKES,
    **GPT2_MISTAKES,
}

__all__ = ["MISTAKES", "Mistake", "ModulePatch", "Patch"]

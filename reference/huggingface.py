"""Hugging Face's GPT-2 beside microgpt: weights across, and the edits that make one of the other.

The real modules of the installed release are built, small and in float64. Weights go by one table of names; nothing may
be missing or left over. `Conv1D` is a linear layer whose weight is transposed, and GPT-2 keeps queries, keys and values
in one of them.

Letters: T positions, C width, H heads, L layers, V vocabulary, B block size.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from reference.recipe import Recipe

# Recipe fields that separate GPT-2 from microgpt, in the order in which they are undone.
LADDER = ("norm", "activation", "biases", "dropout", "final_norm", "embedding_norm", "tied_head")
PACKAGE = "transformers.models.gpt2"


@dataclass(frozen=True)
class Sources:
    """The modules that a model is made of: the installed ones, or copies with a patch."""

    modeling: ModuleType
    configuration: ModuleType


@lru_cache(maxsize=1)
def installed() -> Sources:
    """transformers' own modules. ImportError where it is not installed."""
    from transformers.models.gpt2 import configuration_gpt2, modeling_gpt2  # noqa: PLC0415 - seconds

    return Sources(modeling_gpt2, configuration_gpt2)


def patched(file: str, edit: Callable[[str], str]) -> Sources:
    """A copy of one of the two files, edited and executed beside the original; ValueError as `edit` raises it."""
    original: ModuleType = getattr(installed(), file.split("_")[0])
    specification = importlib.util.spec_from_file_location(f"{PACKAGE}.{file}_with_a_mistake", original.__file__)
    if specification is None or specification.origin is None:
        raise ImportError(f"the source of {file} cannot be found")
    with open(specification.origin, encoding="utf-8") as stream:  # noqa: PTH123 - as the import system names it
        source = edit(stream.read())
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses and decorators look their module up
    # transformers reads the path of its own files; the name of the original serves.
    exec(compile(source, specification.origin, "exec"), vars(module))  # noqa: S102 - running it is the point
    if file.startswith("configuration"):
        return Sources(installed().modeling, module)
    return Sources(module, installed().configuration)


def config(sources: Sources, sizes: Mapping[str, int], attention: str = "sdpa", **more: Any) -> Any:
    """A GPT2Config with microgpt's sizes (V, C, H, L, B), and no token beyond the vocabulary."""
    return sources.configuration.GPT2Config(
        vocab_size=sizes["vocab_size"],
        n_embd=sizes["n_embd"],
        n_head=sizes["n_head"],
        n_layer=sizes["n_layer"],
        n_positions=sizes["block_size"],
        bos_token_id=sizes["vocab_size"] - 1,
        eos_token_id=sizes["vocab_size"] - 1,
        attn_implementation=attention,
        **more,
    )


def gpt2(sources: Sources, sizes: Mapping[str, int], attention: str = "sdpa", **more: Any) -> Any:
    """`GPT2LMHeadModel` in float64, in evaluation mode; its weights are random until `load` replaces them."""
    return sources.modeling.GPT2LMHeadModel(config(sources, sizes, attention, **more)).double().eval()


def gpt1(sizes: Mapping[str, int]) -> Any:
    """`OpenAIGPTLMHeadModel`, GPT-2's predecessor, in float64, in evaluation mode."""
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel  # noqa: PLC0415 - seconds

    settings = OpenAIGPTConfig(
        vocab_size=sizes["vocab_size"],
        n_embd=sizes["n_embd"],
        n_head=sizes["n_head"],
        n_layer=sizes["n_layer"],
        n_positions=sizes["block_size"],
    )
    model: Any = OpenAIGPTLMHeadModel(settings)
    return model.double().eval()


def names(recipe: Recipe, *, first: bool = False) -> dict[str, tuple[str, ...]]:
    """For each parameter of Hugging Face's module, microgpt's names for what it holds, in order; `first` for GPT-1."""
    tokens, positions = ("tokens_embed", "positions_embed") if first else ("wte", "wpe")
    table: dict[str, tuple[str, ...]] = {
        f"transformer.{tokens}.weight": ("wte",),
        f"transformer.{positions}.weight": ("wpe",),
    }
    for i in range(recipe.n_layer):
        ours, theirs = f"layer{i}.", f"transformer.h.{i}."
        matrices = {
            "attn.c_attn": ("attn_wq", "attn_wk", "attn_wv"),
            "attn.c_proj": ("attn_wo",),
            "mlp.c_fc": ("mlp_fc1",),
            "mlp.c_proj": ("mlp_fc2",),
        }
        for module, parts in matrices.items():
            table[f"{theirs}{module}.weight"] = tuple(ours + part for part in parts)
            if recipe.biases:
                table[f"{theirs}{module}.bias"] = tuple(f"{ours}{part}.bias" for part in parts)
        if recipe.norm_affine:
            for number in (1, 2):
                table[f"{theirs}ln_{number}.weight"] = (f"{ours}norm{number}.gain",)
                table[f"{theirs}ln_{number}.bias"] = (f"{ours}norm{number}.bias",)
    if recipe.norm_affine and recipe.final_norm:
        table |= {"transformer.ln_f.weight": ("final_norm.gain",), "transformer.ln_f.bias": ("final_norm.bias",)}
    if not recipe.tied_head:
        table["lm_head.weight"] = ("lm_head",)
    return table


def load(model: Any, recipe: Recipe, weights: Mapping[str, Tensor], *, first: bool = False) -> None:
    """Copy weights into a module. ValueError that names what is missing, left over, or of another shape."""
    table = names(recipe, first=first)
    parameters = dict(model.named_parameters())
    used = {ours for parts in table.values() for ours in parts}
    odd = [f"{name} is not in the module" for name in table.keys() - parameters.keys()]
    odd += [f"{name} is not in the table" for name in parameters.keys() - table.keys()]
    odd += [f"no weights {name}" for name in used - weights.keys()]
    odd += [f"weights {name} go nowhere" for name in weights.keys() - used]
    if odd:
        raise ValueError(f"weights do not fit: {'; '.join(sorted(odd))}")
    with torch.no_grad():
        for theirs, parts in table.items():
            value = torch.cat([weights[part] for part in parts])
            value = value.T if _is_transposed(theirs) else value
            if value.shape != parameters[theirs].shape:
                raise ValueError(f"{theirs} has shape {tuple(parameters[theirs].shape)}, not {tuple(value.shape)}")
            parameters[theirs].copy_(value)


def named(recipe: Recipe, tensors: Mapping[str, Tensor], *, first: bool = False) -> dict[str, Tensor]:
    """The inverse of the table: tensors by Hugging Face's names (parameters or gradients) as microgpt's."""
    result: dict[str, Tensor] = {}
    for theirs, parts in names(recipe, first=first).items():
        value = tensors[theirs].T if _is_transposed(theirs) else tensors[theirs]
        result |= dict(zip(parts, value.chunk(len(parts)), strict=True))
    return result


def _is_transposed(name: str) -> bool:
    return name.endswith(".weight") and (".c_" in name)


# --- from GPT-2 to microgpt -------------------------------------------------------------------------------------------


class _GainlessRmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps): microgpt's norm."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        return nn.functional.rms_norm(x, x.shape[-1:], eps=self.eps)


def edit(model: Any, field: str, recipe: Recipe, weights: Mapping[str, Tensor]) -> None:
    """Bring one field of a GPT-2 module to its value in `recipe`, in place. ValueError for a field it does not know.

    The norm's edit leaves out gains and shifts, which RMSNorm without parameters does not have.
    """
    transformer = model.transformer
    if field == "norm":
        for block in transformer.h:
            block.ln_1, block.ln_2 = _GainlessRmsNorm(recipe.norm_eps), _GainlessRmsNorm(recipe.norm_eps)
        if not isinstance(transformer.ln_f, nn.Identity):
            transformer.ln_f = _GainlessRmsNorm(recipe.norm_eps)
    elif field == "activation":
        for block in transformer.h:
            block.mlp.act = nn.ReLU()
    elif field == "biases":
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(".bias") and ".c_" in name:
                    parameter.zero_()
    elif field == "dropout":
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    elif field == "final_norm":
        transformer.ln_f = nn.Identity()
    elif field == "embedding_norm":
        transformer.drop = nn.Sequential(_GainlessRmsNorm(recipe.norm_eps), transformer.drop)
    elif field == "tied_head":
        model.lm_head.weight = nn.Parameter(weights["lm_head"].clone())
    else:
        raise ValueError(f"no edit for the recipe field {field!r}. Edits: {', '.join(LADDER)}")


def toward_microgpt(
    sources: Sources,
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    fields: tuple[str, ...] = LADDER,
    *,
    attention: str = "sdpa",
    seed: int = 0,
) -> Any:
    """A GPT-2 module that holds microgpt's weights, with some of the edits made: in training mode, float64.

    What microgpt does not have is drawn at random (biases, shifts; gains near 1), so that an edit which is left out
    shows. All fields of LADDER give microgpt's function.
    """
    sizes = {name: getattr(recipe, name) for name in ("vocab_size", "n_embd", "n_head", "n_layer", "block_size")}
    model = gpt2(sources, sizes, attention)
    generator = torch.Generator().manual_seed(seed)
    shared = {name: value for name, value in weights.items() if name != "lm_head"}
    plain = recipe.edited({"tied_head": True})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            elif ".ln_" in name:
                parameter.copy_(1 + 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        parameters = dict(model.named_parameters())
        for theirs, parts in names(plain).items():
            value = torch.cat([shared.pop(part) for part in parts])
            parameters[theirs].copy_(value.T if _is_transposed(theirs) else value)
    if shared:
        raise ValueError(f"weights go nowhere: {', '.join(shared)}")
    for field in fields:
        edit(model, field, recipe, weights)
    return model.train()

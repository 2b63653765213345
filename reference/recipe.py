"""Every choice that separates one small GPT from another, as one frozen record.

Letters: V vocabulary, C n_embd, H n_head, D = C / H, L layers, B block_size. Nothing is imported here but the standard
library, so that claims and mistakes can be read without PyTorch.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args, get_type_hints

BELOW_ONE = ("dropout", "beta1", "beta2")
NOT_NEGATIVE = ("norm_eps", "eps_adam", "weight_decay")


def _problem(name: str, kind: Any, value: Any) -> str:
    """What a field takes, where value is something else: YAML's 1e-5, for one, is a string. Else nothing."""
    if choices := get_args(kind):
        return "" if value in choices else f"one of: {', '.join(map(repr, choices))}"
    if kind is bool:
        return "" if isinstance(value, bool) else "true or false"
    if kind is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) and value > 0 else "a whole number above 0"
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return "a finite number (in YAML with a point: 1.0e-5)"
    if name in BELOW_ONE:
        return "" if 0 <= value < 1 else "0 or more, and less than 1"
    return "0 or more" if name in NOT_NEGATIVE and value < 0 else ""


@dataclass(frozen=True)
class Recipe:
    """One small GPT: sizes, layers, loss and optimizer. `MICROGPT` and `GPT2` are two of them."""

    # Sizes.
    vocab_size: int = 27
    n_embd: int = 16
    n_head: int = 4
    n_layer: int = 1
    block_size: int = 16
    # Embeddings and head.
    position: Literal["learned", "none", "one late"] = "learned"
    embedding_norm: bool = True
    tied_head: bool = False
    # Norms.
    norm: Literal["rms", "layer", "none"] = "rms"
    norm_order: Literal["pre", "post"] = "pre"
    norm_mean: Literal["n", "n - 1", "sum"] = "n"
    norm_root: Literal["root", "plain", "multiply"] = "root"
    norm_eps: float = 1e-5
    norm_eps_place: Literal["under root", "beside root", "maximum"] = "under root"
    norm_affine: bool = False
    final_norm: bool = False
    final_norm_place: Literal["after last block", "after last attention"] = "after last block"
    # Attention.
    attention_scale: Literal["1/sqrt(D)", "1/sqrt(C)", "1/sqrt(H)", "1/D", "sqrt(D)", "1"] = "1/sqrt(D)"
    attention_mask: Literal["causal", "none", "one ahead", "past only", "self only", "window of 4"] = "causal"
    attention_softmax: Literal["keys", "queries", "heads"] = "keys"
    attention_mask_place: Literal["before softmax", "after softmax"] = "before softmax"
    # Multi-layer perceptron.
    activation: Literal["relu", "relu squared", "gelu tanh", "gelu erf", "silu", "leaky relu", "identity"] = "relu"
    biases: bool = False
    dropout: float = 0.0
    # Loss.
    loss: Literal["mean", "sum"] = "mean"
    # Optimizer.
    learning_rate: float = 0.01
    beta1: float = 0.85
    beta2: float = 0.99
    eps_adam: float = 1e-8
    eps_adam_place: Literal["beside root", "under root", "epsilon hat"] = "beside root"
    bias_correction: Literal["both", "none", "first", "second", "swapped", "frozen", "late"] = "both"
    second_moment: Literal["square", "absolute", "centred"] = "square"
    second_moment_root: bool = True
    weight_decay: float = 0.0
    weight_decay_kind: Literal["decoupled", "l2"] = "decoupled"
    optimizer: Literal["adam", "amsgrad", "nadam", "sgd"] = "adam"
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    num_steps: int = 1000

    def __post_init__(self) -> None:
        """Refuse a value that its field does not take, and heads that do not divide the width (ValueError)."""
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if problem := _problem(name, kind, value):
                raise ValueError(f"recipe field {name} is {value!r}. It takes {problem}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")

    @property
    def head_size(self) -> int:
        """D = C / H."""
        return self.n_embd // self.n_head

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the parameters, in the order of microgpt's draws; rows are outputs.

        A gain comes with a bias, whatever the norm; with norm "none" there is neither.
        """
        affine = self.norm_affine and self.norm != "none"
        vocab, width, block = self.vocab_size, self.n_embd, self.block_size
        shapes: dict[str, tuple[int, ...]] = {"wte": (vocab, width)}
        if self.position != "none":
            shapes["wpe"] = (block, width)
        if not self.tied_head:
            shapes["lm_head"] = (vocab, width)
        for layer in range(self.n_layer):
            prefix = f"layer{layer}."
            matrices = dict.fromkeys(("attn_wq", "attn_wk", "attn_wv", "attn_wo"), (width, width))
            matrices |= {"mlp_fc1": (4 * width, width), "mlp_fc2": (width, 4 * width)}
            for name, shape in matrices.items():
                shapes[prefix + name] = shape
                if self.biases:
                    shapes[f"{prefix}{name}.bias"] = shape[:1]
            if affine:
                for name in ("norm1.gain", "norm1.bias", "norm2.gain", "norm2.bias"):
                    shapes[prefix + name] = (width,)
        if affine:
            for norm, present in (("embedding_norm", self.embedding_norm), ("final_norm", self.final_norm)):
                if present:
                    shapes |= {f"{norm}.gain": (width,), f"{norm}.bias": (width,)}
        return shapes

    def edited(self, edits: dict[str, Any]) -> Self:
        """The same recipe but for some fields; ValueError for a field that does not exist."""
        if unknown := sorted(set(edits) - {field.name for field in fields(self)}):
            raise ValueError(f"no such recipe field: {', '.join(unknown)}")
        return replace(self, **edits)

    def differences(self, other: "Recipe") -> list[str]:
        """The names of the fields in which two recipes differ."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]


MICROGPT = Recipe()

# The architecture of the smallest released GPT-2. Its optimizer was not published in full: those fields stay.
GPT2 = Recipe(
    vocab_size=50257,
    n_embd=768,
    n_head=12,
    n_layer=12,
    block_size=1024,
    embedding_norm=False,
    tied_head=True,
    norm="layer",
    norm_affine=True,
    final_norm=True,
    activation="gelu tanh",
    biases=True,
    dropout=0.1,
)

# What GPT-2 moved away from: the norm follows each sub-block's residual, and none follows the last block.
GPT1 = GPT2.edited({"norm_order": "post", "final_norm": False})

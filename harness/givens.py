"""What may be given to an observable: closed models, whose defaults are what is observed where a check gives nothing.

A list means one case for each item, several lists every combination.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
Many = Annotated[list[T], Field(min_length=1)]
Size = Annotated[int, Field(ge=1, le=4096)]
Scale = Annotated[float, Field(gt=0, lt=1e100)]


class Given(BaseModel):
    """What every observable takes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seeds: Annotated[int, Field(ge=1, le=1000, description="number of independent draws")] = 1


class VectorGiven(Given):
    """One vector, drawn from a normal distribution."""

    probe: Literal["default", "offset", "sparse", "gaps"] = "default"
    width: Size | Many[Size] = 16
    scales: Scale | Many[Scale] = Field(default=1.0, description="standard deviations of the vector's elements")
    times: Scale = Field(default=1.0, description="the vector is multiplied by this, after it was drawn")
    shift: float = Field(default=0.0, description="added to every element, after it was drawn")


class MatrixGiven(Given):
    """A vector and a matrix."""

    n_in: Size | Many[Size] = 16
    n_out: Size | Many[Size] = 12


class SizesGiven(Given):
    """A model's sizes; what is left out is the probe's."""

    probe: Literal["default", "stress", "small", "attention-only", "gpt2", "gpt1"] = "default"
    n_layer: Size | Many[Size] | None = None
    n_head: Size | Many[Size] | None = None


class ModelGiven(SizesGiven):
    """A model with random weights, and one document of distinct tokens that begins with BOS."""

    length: Size | Many[Size] | None = Field(default=None, description="T, the positions that are processed")
    norm: Literal["own", "plain"] = Field(
        default="own", description="plain: the subject's norm is replaced by its definition, so that it is not on trial"
    )


class LogitsGiven(ModelGiven):
    """A document, and how it is fed."""

    attention: Literal["cache", "mask"] = Field(
        default="cache",
        description="mask: all positions at once, through the subject's own functions, later ones masked",
    )
    order: Literal["forward", "backward"] = Field(default="forward", description="in which positions are fed to gpt()")
    feed: Literal["full", "cached"] = Field(default="full", description="cached: one token at a time (gpt2)")


class FutureGiven(ModelGiven):
    """How the later tokens are changed."""

    change: Literal["replaced", "removed"] = "replaced"


class DocumentsGiven(SizesGiven):
    """A model, and several documents one after the other."""

    lengths: Many[Size] | None = Field(default=None, description="T of each document, all in one case")
    norm: Literal["own", "plain"] = "own"


class GradientsGiven(DocumentsGiven):
    """The loss, or one component alone under a random cotangent."""

    component: Literal["loss", "rms_norm", "softmax", "linear"] = "loss"
    width: Size = Field(default=16, description="of a component's input")
    scale: Scale = Field(default=1.0, description="standard deviation of a component's input")
    attention: Literal["cache", "mask"] = "cache"


class AdamGiven(Given):
    """Gradients, and where the optimizer starts."""

    regime: (
        Literal["normal", "tiny", "huge", "zero", "sign-flipping", "sparse"]
        | Many[Literal["normal", "tiny", "huge", "zero", "sign-flipping", "sparse"]]
    ) = "normal"
    steps: Annotated[int, Field(ge=1, le=1000)] = 8
    size: Annotated[int, Field(ge=1, le=200)] = 12
    start: Literal["zero", "arbitrary"] = Field(default="zero", description="of both moments and the step number")
    hyperparameters: Literal["own", "given"] = Field(
        default="own",
        description="given: betas and eps are drawn and handed to the update; in symbols they are unknowns",
    )


class FirstUpdateGiven(Given):
    """Gradients of the first step."""

    regime: (
        Literal["normal", "tiny", "huge", "sign-flipping"] | Many[Literal["normal", "tiny", "huge", "sign-flipping"]]
    ) = "normal"
    size: Annotated[int, Field(ge=1, le=200)] = 12
    hyperparameters: Literal["own", "given"] = "own"


class DependenciesGiven(ModelGiven):
    """What is traced."""

    output: Literal["logits", "rms_norm"] = "logits"
    width: Size = Field(default=8, description="of the norm's input")


class TokensGiven(Given):
    """A handful of made-up documents."""

    documents: Annotated[int, Field(ge=1, le=1000)] = 5


class TextGiven(Given):
    """A text file of made-up documents, with blank lines and blanks around some of them."""

    documents: Annotated[int, Field(ge=8, le=1000)] = 20


class ExpressionsGiven(Given):
    """A random program of scalar operations."""

    operations: Annotated[int, Field(ge=1, le=1000)] = 40


class TrainingGiven(DocumentsGiven):
    """A model, documents, and how far it is trained."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 3
    num_steps: Size | Many[Size] = Field(default=1000, description="how many the schedule of the learning rate has")


class ScheduleGiven(SizesGiven):
    """A schedule; all of its steps are taken."""

    num_steps: Size | Many[Size] = 1000


class SamplesGiven(SizesGiven):
    """A model to draw from, and how."""

    samples: Annotated[int, Field(ge=1, le=1000)] = 3
    temperature: Scale | Many[Scale] = 0.5
    norm: Literal["own", "plain"] = "own"


class CopyGiven(Given):
    """A tiny decoder, trained on random tokens."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 60


class Conv1dGiven(SizesGiven):
    """A model, and one input for each of its Conv1D layers."""


class NothingGiven(Given):
    """Nothing can be varied."""

"""What is asked: a claim, its words, its evidence and its checks, as closed models.

`load` (in `loading`) makes these from YAML; `python -m harness schema` prints their JSON Schema.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

Identifier = Annotated[
    str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="lower-case words joined by hyphens")
]
Sentence = Annotated[str, Field(min_length=1)]
Relation = Literal["equals", "differs", "at_most", "at_least"]
RELATIONS: dict[str, str] = {
    "equals": "every array is that of the right side, within the bound: a reference, a literal value, or the subject "
    "itself in other circumstances",
    "differs": "somewhere the arrays are apart from those of the right side, by at least so much",
    "at_most": "every number is at most the literal",
    "at_least": "every number is at least the literal",
}
BOUNDS: dict[str, str] = {
    "rounding": "each array within 2^12 u (4.5e-13) of its own largest magnitude",
    "exactly": "bit for bit; plain values are always compared so",
    "relative": "within so much of each array's largest magnitude; takes because",
    "absolute": "within so much; takes because",
}


class Closed(BaseModel):
    """A record that takes the keys that it declares, of the types that it declares, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Bound(Closed):
    """How far apart two arrays may be."""

    kind: Literal["rounding", "exactly", "relative", "absolute"]
    value: float = 0.0
    because: str = ""


class Relative(Closed):
    """A bound of its own, in units of each array's largest magnitude."""

    relative: Annotated[float, Field(gt=0, lt=1)]
    because: Sentence

    def bound(self) -> Bound:
        """As a bound."""
        return Bound(kind="relative", value=self.relative, because=self.because)


class Absolute(Closed):
    """A bound of its own, in the array's unit."""

    absolute: Annotated[float, Field(gt=0)]
    because: Sentence

    def bound(self) -> Bound:
        """As a bound."""
        return Bound(kind="absolute", value=self.absolute, because=self.because)


def _first_key(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value)))
    if isinstance(value, BaseModel):
        return "name" if not type(value).model_fields else next(iter(type(value).model_fields))
    return "unknown"


Within = Annotated[
    Annotated[Literal["rounding", "exactly"], Tag("a name")]
    | Annotated[Relative, Tag("a relative bound")]
    | Annotated[Absolute, Tag("an absolute bound")],
    Discriminator(lambda v: _bound_kind(v)),
]


def _bound_kind(value: Any) -> str:
    """The tag of the kind; no tag is a key, so that what is wrong is reported at its own key."""
    if isinstance(value, dict):
        return "an absolute bound" if "absolute" in value else "a relative bound"
    if isinstance(value, Relative | Absolute):
        return "a relative bound" if isinstance(value, Relative) else "an absolute bound"
    return "a name"


class By(Closed):
    """How far apart two observations must be."""

    at_least: Annotated[float, Field(gt=0)]
    because: Sentence


class TorchOptions(Closed):
    """How the PyTorch reference is built."""

    attention: Literal["mask", "cache", "sdpa"] = "mask"


class Gpt2Options(Closed):
    """How the Hugging Face module is built, and which recipe is made of it."""

    attention: Literal["eager", "sdpa"] = "sdpa"
    recipe: Literal["gpt2", "microgpt"] = Field(
        default="gpt2", description="microgpt: with every edit that separates GPT-2 from microgpt"
    )


class PaperOptions(Closed):
    """Which equation of the paper, and how the subject departs from it."""

    eps_under_root: Annotated[float, Field(ge=0)] = 0.0
    activation: Literal["relu", "gelu", "gelu tanh"] = "gelu tanh"


class Itself(Closed):
    """The same subject, where something else is given or observed."""

    given: dict[str, Any] = {}


class TorchSide(Closed):
    """The PyTorch reference with options."""

    torch: TorchOptions


class PaperSide(Closed):
    """The papers' equations with options."""

    paper: PaperOptions


class Gpt2Side(Closed):
    """The Hugging Face GPT-2 module with options."""

    gpt2: Gpt2Options


class ValueSide(Closed):
    """A literal: a number, nested lists, or text, for the array that `at` names; or one for each array by name."""

    value: Any


class ItselfSide(Closed):
    """The subject itself."""

    itself: Itself


Side = Annotated[
    Annotated[Literal["torch", "paper", "gpt2", "huggingface"], Tag("name")]
    | Annotated[TorchSide, Tag("torch")]
    | Annotated[PaperSide, Tag("paper")]
    | Annotated[Gpt2Side, Tag("gpt2")]
    | Annotated[ValueSide, Tag("value")]
    | Annotated[ItselfSide, Tag("itself")],
    Discriminator(_first_key),
]


Of = Annotated[
    Annotated[Literal["microgpt", "gpt2", "gpt1", "torch"], Tag("name")]
    | Annotated[Gpt2Side, Tag("gpt2")]
    | Annotated[TorchSide, Tag("torch")],
    Discriminator(_first_key),
]


Patterns = Annotated[list[Sentence], Field(min_length=1), BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Inside = Annotated[
    str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$", description="a function, a Class, or a Class.method")
]
PackageFile = Annotated[
    str, Field(pattern=r"^([\w-]+/)*[\w-]+\.py$", description="a Python file, from the package's folder on")
]
Releases = Annotated[str, Field(min_length=1, description='releases of the package where this holds, such as "<5.2"')]


class Replacement(Closed):
    """What stands in a pattern's place in the releases where it no longer holds."""

    find: Patterns
    inside: Inside | None = None
    file: PackageFile | None = Field(default=None, description="the evidence's file, where none is named")
    releases: Releases | None = None


class Find(Closed):
    """A pattern of code, or several of which any will do, that should be found in a source; inside one definition."""

    source: str
    find: Patterns
    inside: Inside | None = None
    file: PackageFile | None = Field(default=None, description="the source's file, where none is named")
    releases: Releases | None = None
    replaced_by: Annotated[
        Replacement | None,
        BeforeValidator(lambda v: {"find": v} if isinstance(v, (str, list)) else v),
        Field(description="a pattern, or {find, inside, file, releases}"),
    ] = None


class Absent(Closed):
    """A pattern of code that should not be found in a source."""

    source: str
    absent: Sentence
    inside: Inside | None = None
    file: PackageFile | None = Field(default=None, description="the source's file, where none is named")
    releases: Releases | None = None


class Cite(Closed):
    """A source for people to read, and where in it."""

    source: str
    locator: Sentence
    quote: Sentence | None = None


Evidence = Annotated[
    Annotated[Find, Tag("found")] | Annotated[Absent, Tag("not found")] | Annotated[Cite, Tag("cited")],
    Discriminator(lambda v: _evidence_kind(v)),
]


def _evidence_kind(value: Any) -> str:
    """The tag of the kind; no tag is a key, so that what is wrong is reported at its own key."""
    if isinstance(value, dict):
        return "found" if "find" in value else "not found" if "absent" in value else "cited"
    return "found" if isinstance(value, Find) else "not found" if isinstance(value, Absent) else "cited"


class Words(Closed):
    """A clause of the claim, to the letter, and what decides it."""

    text: Sentence
    by: list[Identifier] = Field(default=[], description="checks of this claim")
    cites: str | None = Field(default=None, description="a source, where the clause is about a text")


class Check(Closed):
    """Observe something of a subject, given inputs, and relate it to something else."""

    id: Identifier
    observe: str
    of: Of
    reading: Literal["float64", "dependencies", "symbols", "digits"] = Field(
        default="float64", alias="in", description="the arithmetic, and how its trace is read"
    )
    given: dict[str, Any] = {}
    at: str | None = Field(default=None, description="one array of the observation")
    equals: Side | None = None
    within: Within | None = None
    differs: Side | None = None
    by: By | None = None
    at_most: float | None = None
    at_least: float | None = None
    because: Sentence | None = Field(default=None, description="the reason for a literal limit")
    counterexamples: list[Identifier] = []

    @property
    def subject(self) -> str:
        """The name of who is observed, without options."""
        return self.of if isinstance(self.of, str) else next(iter(type(self.of).model_fields))

    @property
    def relation(self) -> Relation:
        """The one relation that is named (the loader makes sure of it)."""
        names: tuple[Relation, ...] = ("equals", "differs", "at_most", "at_least")
        return next(name for name in names if getattr(self, name) is not None)

    @property
    def right(self) -> Any:
        """The right side of the relation: a side, or a literal limit."""
        return getattr(self, self.relation)

    @property
    def bound(self) -> Bound:
        """The bound of `equals`; `rounding` where none is named."""
        if isinstance(self.within, (Relative, Absolute)):
            return self.within.bound()
        return Bound(kind=self.within or "rounding")


class Claim(Closed):
    """A statement, its words, its evidence, its checks."""

    id: Identifier
    section: Annotated[int, Field(ge=1)] | None = Field(default=None, description="of the verification log")
    about: Literal["microgpt", "gpt2", "transformer"]
    title: Sentence
    claim: Sentence
    qualification: Sentence | None = Field(default=None, description="what must be added to the claim's words")
    words: list[Words] = []
    evidence: list[Evidence] = []
    checks: Annotated[list[Check], Field(min_length=1)]


class Source(Closed):
    """An entry of the bibliography."""

    title: Sentence
    authors: Sentence
    year: Annotated[int, Field(ge=1900, le=2100)]
    identifier: Sentence
    link: Annotated[str, Field(pattern=r"^https://\S+$")]
    package: Annotated[str, Field(pattern=r"^\w+$")] | None = Field(
        default=None, description="the installed package whose code this is, where evidence may be found in it"
    )
    file: PackageFile | None = Field(default=None, description="of the package, where evidence names no other")

"""What was found: observations, the outcome of each check, the verdict on each claim, the report of a run.

The report is written to results.json as these models print themselves; ``python -m harness schema results`` prints its
JSON Schema. Fields are added to it, never changed.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

CheckOutcome = Literal["pass", "fail", "error", "skip"]
Rejection = Literal["rejected", "survived", "error"]
Oracle = Literal["independent", "transcription", "itself", "literal"]
Verdict = Literal["verified", "qualified", "cited", "refuted", "unproven", "broken", "not_about"]
EvidenceState = Literal["found", "historical", "gone", "ambiguous", "cited"]


@dataclass
class Observation:
    """What a subject answered: arrays by name, or that it could not.

    In float64 an array is a nested list of numbers; in symbols and digits it holds expressions and 50-digit numbers.
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    error: str = ""  # it raised, hung or died
    arithmetic: bool = False  # the error was one of arithmetic: the answer is not a finite number
    skipped: str = ""  # it has nothing to answer with
    guards: list[str] = field(default_factory=list)  # comparisons that the path taken depends on
    conditions: list[Any] = field(default_factory=list)  # the same, as relations between symbols
    notes: list[str] = field(default_factory=list)


def _json_number(number: float | None) -> float | str | None:
    """JSON has no infinity: a number that is not finite is written as its name."""
    return number if number is None or math.isfinite(number) else repr(number)


Number = Annotated[float, PlainSerializer(_json_number, return_type=float | str | None, when_used="json")]


class Record(BaseModel):
    """A part of the report; closed, so that what is read back is what was written."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Worst(Record):
    """The number that is furthest off."""

    array: str
    index: list[int]
    observed: Number | str
    expected: Number | str
    off_by: Number
    allowed: Number
    case: str = ""


class CounterexampleResult(Record):
    """What a known mistake came to in the subject's place."""

    name: str
    outcome: Rejection
    observed: Number | None = Field(default=None, description="its error, in the unit of the check's bound")
    message: str = ""


class CheckResult(Record):
    """One check: what was compared with what, and what came of it."""

    id: str
    observe: str
    of: str
    reading: str = Field(serialization_alias="in", validation_alias="in")
    given: dict[str, Any]
    relation: str = Field(description="equals, differs, at_most or at_least, and what stands on the right")
    oracle: Oracle
    outcome: CheckOutcome
    evidence: str = Field(
        default="", description="what a pass amounts to: proved, exact, n digits, rounding, behaviour"
    )
    cases: int = 0
    compared: int = 0
    differing: int = 0
    observed: Number | None = Field(default=None, description="largest error, in the unit of the bound")
    allowed: Number | None = None
    bound: str = ""
    because: str = ""
    noise: Number | None = Field(default=None, description="error between two references, in the unit of the bound")
    worst: Worst | None = None
    guards: list[str] = Field(default=[], description="comparisons that hold on the path that was traced")
    notes: list[str] = []
    message: str = ""
    controls: list[CounterexampleResult] = Field(
        default=[], description="zeros, a constant, ... in the subject's place"
    )
    counterexamples: list[CounterexampleResult] = []
    repeat: str = Field(default="", description="the command that runs this check alone")


class WordsResult(Record):
    """A clause of the claim, and what decides it."""

    text: str
    by: list[str]
    cites: str | None = None
    covered: bool


class EvidenceResult(Record):
    """A source, and whether it still says what is claimed."""

    source: str
    state: EvidenceState
    where: str
    shown: str = ""
    message: str = ""


class ClaimResult(Record):
    """A claim with its verdict."""

    id: str
    section: int | None
    about: str
    title: str
    claim: str
    verdict: Verdict
    reasons: list[str] = Field(default=[], description="why it is not verified")
    qualification: str | None
    strongest: str = Field(default="", description="the strongest kind of evidence")
    file: str
    sha256: str
    words: list[WordsResult]
    uncovered: list[str] = Field(default=[], description="words of the claim that no clause holds")
    also_checked: list[str] = Field(default=[], description="checks that no clause names")
    evidence: list[EvidenceResult]
    gates: bool = Field(default=True, description="whether lost evidence changes the exit code; never in a given file")
    checks: list[CheckResult]


class SubjectFile(Record):
    """The file under test."""

    file: str
    sha256: str
    own: bool
    about: str


class Run(Record):
    """The circumstances."""

    started: str
    seconds: float
    seed: int
    platform: str
    python: str
    versions: dict[str, str]
    git: str | None
    subject: SubjectFile


class Report(Record):
    """Everything that a run found; every other format is a function of it."""

    format: Literal[1] = 1
    run: Run
    claims: list[ClaimResult]
    exit_code: int


def dump(report: Report) -> str:
    """The report as JSON text: keys in a fixed order, numbers that are not finite as their names."""
    return report.model_dump_json(by_alias=True, indent=1) + "\n"


def load(text: str) -> Report:
    """The inverse of `dump`; pydantic.ValidationError where the text is no such report."""
    return Report.model_validate_json(text)

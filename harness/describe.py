"""What there is, in words: lists, explanations, schemas, and a claim file to start from. Nothing here computes."""

import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from harness.claims import BOUNDS, RELATIONS, Check, Claim, ItselfSide, PaperSide, TorchSide, ValueSide
from harness.inputs import PROBES
from harness.loading import Claims, LoadedClaim
from harness.observables import OBSERVABLES
from harness.results import Report
from reference.mistakes import MISTAKES

WIDTH = 80


def is_identifier(name: str) -> bool:
    """Whether a word can be an id."""
    return re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is not None


def _entry(name: str, *lines: str) -> str:
    body = [textwrap.fill(line, WIDTH, initial_indent="    ", subsequent_indent="      ") for line in lines if line]
    return "\n".join([name, *body])


def _page(entries: Iterable[str]) -> str:
    return "\n".join(entries)


# --- lists ------------------------------------------------------------------------------------------------------------


def claims(loaded: Claims) -> str:
    """Section, id, number of checks, title."""
    rows = []
    for item in loaded.claims:
        claim = item.claim
        number = f"{claim.section or '–'!s:>3}"
        rows.append(f"{number}  {claim.id:<22} {len(claim.checks):>3} checks  {claim.title}")
    return _page(rows) or "no claims"


def observables(_: Claims) -> str:
    """Name, meaning, what is given, what comes back, who else can answer, in which readings."""
    entries = []
    for name, observable in OBSERVABLES.items():
        arrays = ", ".join(f"{array} ({shape})" for array, shape in observable.arrays.items())
        entries.append(
            _entry(
                name,
                observable.meaning,
                f"given: {', '.join(_given(observable.given))}",
                f"arrays: {arrays}",
                f"compared with: {', '.join((*observable.references, 'value', 'itself'))}",
                f"read in: {', '.join(observable.readings)}",
            )
        )
    return _page(entries)


def _given(model: Any) -> list[str]:
    fields = []
    for name, information in model.model_fields.items():
        default = information.default
        text = f"{name} = {default}" if default is not None else f"{name} (the probe's)"
        fields.append(text + (f" ({information.description})" if information.description else ""))
    return fields


def counterexamples(_: Claims) -> str:
    """Name, component, sentence, how it is made, where it was seen."""
    entries = []
    for name, mistake in MISTAKES.items():
        edits = ", ".join(f"{field} = {value!r}" for field, value in mistake.recipe.items())
        ways = [*([f"recipe: {edits}"] if edits else []), *(["a patch of microgpt.py"] if mistake.patch else [])]
        seen = f"seen in: {mistake.seen}" if mistake.seen else ""
        entries.append(_entry(name, f"{mistake.component}: {mistake.sentence}", "; ".join(ways), seen))
    return _page(entries)


def probes(_: Claims) -> str:
    """Name and what it draws."""
    return _page(_entry(name, text) for name, text in PROBES.items())


def relations(_: Claims) -> str:
    """Relations and bounds."""
    entries = [_entry(name, text) for name, text in RELATIONS.items()]
    entries += [_entry(f"within: {name}", text) for name, text in BOUNDS.items()]
    return _page(entries)


def sources(loaded: Claims) -> str:
    """The bibliography."""
    return _page(
        _entry(key, f"{s.authors} ({s.year}): {s.title}. {s.identifier}", s.link) for key, s in loaded.sources.items()
    )


LISTS: dict[str, Callable[[Claims], str]] = {
    "claims": claims,
    "observables": observables,
    "counterexamples": counterexamples,
    "probes": probes,
    "relations": relations,
    "sources": sources,
}


# --- explanations -----------------------------------------------------------------------------------------------------


def explain(item: LoadedClaim, check_id: str = "") -> str:
    """A claim, or one of its checks, in sentences."""
    claim = item.claim
    if check_id:
        return _check(next(check for check in claim.checks if check.id == check_id), claim)
    lines = [_fill(f"{claim.id}: {claim.title}"), "", _fill(" ".join(claim.claim.split())), ""]
    if claim.qualification:
        lines += [_fill(f"It is to be qualified: {' '.join(claim.qualification.split())}"), ""]
    for clause in claim.words:
        by = [*clause.by, *([f"the source {clause.cites}"] if clause.cites else [])]
        lines.append(_fill(f"“{clause.text}” is decided by {', '.join(by) or 'nothing'}."))
    return "\n".join([*lines, "", *(_check(check, claim) + "\n" for check in claim.checks)])


def _fill(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _check(check: Check, claim: Claim) -> str:
    observable = OBSERVABLES[check.observe]
    given = ", ".join(f"{name} {value}" for name, value in check.given.items()) or "the defaults"
    readings = {
        "float64": "in float64",
        "dependencies": "as dependencies, read from a trace of its own operations",
        "symbols": "as formulas, read from a trace of its own operations",
        "digits": "in 50 digits, from a trace of its own operations",
    }
    sentences = [
        f"{check.id}: observes {check.observe} of {check.of} ({observable.meaning}), {readings[check.reading]}.",
        f"Given: {given}.",
        _relation_sentence(check),
        "It decides: "
        + (
            ", ".join(f"“{c.text}”" for c in claim.words if check.id in c.by)
            or "none of the claim's words (also checked)"
        )
        + ".",
    ]
    if check.counterexamples:
        sentences.append("It could fail: each of these mistakes, in the subject's place, has to.")
        sentences += [f"  {name}: {MISTAKES[name].sentence}." for name in check.counterexamples]
    if check.relation == "equals" and check.reading in ("float64", "dependencies"):
        sentences.append("So has an answer of zeros, a constant, a shuffled one, one that is not a number.")
    return "\n".join(textwrap.fill(s, WIDTH, subsequent_indent="    ") for s in sentences)


def _relation_sentence(check: Check) -> str:
    right, because = check.right, (check.by.because if check.by else check.because) or check.bound.because
    why = f", because {' '.join(because.split())}" if because else ""
    if check.relation in ("at_most", "at_least"):
        return f"Every number is {check.relation.replace('_', ' ')} {right:g}{why}."
    if isinstance(right, ItselfSide):
        other = "itself with " + ", ".join(f"{name} {value}" for name, value in right.itself.given.items())
    elif isinstance(right, ValueSide):
        other = f"the value {right.value}"
    elif right == "torch" or isinstance(right, TorchSide):
        how = f" (attention by {right.torch.attention})" if isinstance(right, TorchSide) else ""
        other = f"PyTorch's own computation{how}, an independent implementation"
    else:
        eps = f", with {right.paper.eps_under_root:g} under the root" if isinstance(right, PaperSide) else ""
        other = f"the paper's equation, transcribed{eps}"
    where = f"The array {check.at}" if check.at else "Every array"
    if check.relation == "differs":
        assert check.by is not None  # noqa: S101 - the loader refuses differs without by
        return f"{where} differs from {other} by at least {check.by.at_least:g}{why}."
    if check.reading == "symbols":
        return (
            f"{where} is compared with {other}: in 50 digits at random points, then the difference must simplify to 0."
        )
    if check.reading == "digits":
        return f"{where} agrees with {other} to 40 digits."
    bound = "exactly" if observable_is_exact(check) else f"within {check.bound.kind}"
    size = f" {check.bound.value:g}" if check.bound.value else ""
    return f"{where} equals {other}, {bound}{size}{why}."


def observable_is_exact(check: Check) -> bool:
    """Whether nothing but equality will do."""
    return OBSERVABLES[check.observe].plain or check.reading == "dependencies" or check.within == "exactly"


# --- schemas ----------------------------------------------------------------------------------------------------------


def claim_schema() -> dict[str, Any]:
    """The JSON Schema of a claim file: the models', with the names and what each observable may be given."""
    schema = Claim.model_json_schema(by_alias=True)
    check = schema["$defs"]["Check"]
    check["properties"]["observe"] = {"enum": sorted(OBSERVABLES), "description": "see list observables"}
    names = check["properties"]["counterexamples"]
    names["items"] = {"enum": sorted(MISTAKES)}
    check["allOf"] = []
    for name, observable in OBSERVABLES.items():
        given = observable.given.model_json_schema()
        given.pop("$defs", None)
        condition = {"properties": {"observe": {"const": name}}}
        check["allOf"].append({"if": condition, "then": {"properties": {"given": given}}})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A claim"}


def results_schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    schema = Report.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "The results of a run"}


# --- a claim to start from --------------------------------------------------------------------------------------------


def template(name: str) -> str:
    """A claim file that is valid and verified as it stands, with comments that say what to change."""
    return f"""\
# yaml-language-server: $schema=claim.schema.json
# One claim: a statement, what decides each of its clauses, and checks that could fail.
id: {name}
about: microgpt                 # whom the statement is about
title: Softmax gives probabilities
claim: >-
  microgpt's softmax is the exponential of each score over the sum of all exponentials.
# qualification: what must be added to the words, if anything, in one sentence
words:                          # every clause of the claim, to the letter, and the checks that decide it
  - text: microgpt's softmax is the exponential of each score over the sum of all exponentials
    by: [equals-torch]
evidence:                       # citations for people to read, and code that is looked for by syntax
  - {{source: subject, find: "$X.exp()", inside: softmax}}
checks:
  - id: equals-torch
    observe: softmax            # python -m harness list observables
    of: microgpt
    given: {{width: [1, 8, 27], scales: [1.0, 10.0], seeds: 5}}   # a list means one case for each item
    equals: torch               # or paper, {{value: ...}}, {{itself: {{given: ...}}}}; python -m harness list relations
    within: rounding            # any other bound takes a reason: {{relative: 1.0e-9, because: ...}}
    counterexamples: [softmax-denominator]   # mistakes that this check must reject: list counterexamples
"""

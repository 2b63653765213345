"""Whether a source still says what a claim leans on: citations for people, and code found by syntax.

Patterns are those of ast-grep: ``$X`` is one node, ``$$$`` any run of them. Comments and strings never match. States:
found (file:line), gone, ambiguous (more places than one), cited.
"""

from functools import lru_cache
from typing import Any

from harness.claims import Absent, Cite, Claim, Source
from harness.results import EvidenceResult, EvidenceState


def search(claim: Claim, path: str, text: str, sources: dict[str, Source]) -> list[EvidenceResult]:
    """The state of each piece of a claim's evidence; `path` and `text` are the subject's file."""
    return [_cited(item, sources) if isinstance(item, Cite) else _in_code(item, path, text) for item in claim.evidence]


def _cited(item: Cite, sources: dict[str, Source]) -> EvidenceResult:
    source = sources[item.source]
    where = f"{source.authors} ({source.year}), {source.title}, {source.identifier}, {item.locator}"
    return EvidenceResult(source=item.source, state="cited", where=where, shown=item.quote or "")


def _in_code(item: Any, path: str, text: str) -> EvidenceResult:
    patterns = [item.absent] if isinstance(item, Absent) else item.find
    within = f" inside {item.inside}" if item.inside else ""
    root = _parsed(text)
    scope = _definition(root, item.inside) if item.inside else root
    if scope is None:
        return EvidenceResult(source=item.source, state="gone", where=path, message=f"no definition of {item.inside}")
    matches: dict[tuple[int, int], str] = {}
    for pattern in patterns:
        for match in scope.find_all(pattern=pattern):
            matches.setdefault((match.range().start.line, match.range().start.column), match.text())
    places = [f"{path}:{line + 1}" for line, _ in sorted(matches)]
    shown = " ".join(next(iter(matches.values()), "").split())
    state: EvidenceState
    if isinstance(item, Absent):
        state, message = (
            ("gone", f"{item.absent!r} is there{within}, though it should not be") if places else ("found", "")
        )
        where = ", ".join(places) or f"{path}: not there{within}"
        return EvidenceResult(source=item.source, state=state, where=where, shown=shown or item.absent, message=message)
    if not places:
        message = f"none of {', '.join(map(repr, patterns))} is there{within}"
        return EvidenceResult(source=item.source, state="gone", where=path, message=message)
    state = "found" if len(places) == 1 else "ambiguous"
    message = "" if state == "found" else f"it is there {len(places)} times{within}"
    return EvidenceResult(source=item.source, state=state, where=", ".join(places), shown=shown, message=message)


def is_one_node(pattern: str) -> bool:
    """Whether a pattern is one statement or expression, so that it can match anything at all."""
    root = _parsed(pattern.replace("$$$", "_any_").replace("$", "_"))
    return len(root.children()) == 1 and not root.find(kind="ERROR")


def _definition(root: Any, name: str) -> Any:
    """The function or class of that name; a method as Class.method."""
    scope = root
    for part in name.split("."):
        kinds = ("function_definition", "class_definition")
        found = [node for kind in kinds for node in scope.find_all(kind=kind) if _name(node) == part]
        if not found:
            return None
        scope = found[0]
    return scope


def _name(node: Any) -> str:
    field = node.field("name")
    return field.text() if field else ""


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    from ast_grep_py import SgRoot  # noqa: PLC0415 - listing claims does without it

    return SgRoot(text, "python").root()

"""Code found by syntax: where a pattern occurs in Python source, which is parsed and never run.

Patterns are those of ast-grep: ``$X`` is one node, ``$$$`` any run of them, all else is meant to the letter, quotes
included. Comments and the text of strings never match.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_DEFINITIONS = ("function_definition", "class_definition")
_WILDCARD = re.compile(r"\$+[A-Z_0-9]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\s*(:[^=]*)?=(?!=)")
_SHOWN = 160


@dataclass(frozen=True, order=True)
class Place:
    """Where a pattern matched: the line, counted from 1, and the code that stands there, on one line."""

    line: int
    column: int
    shown: str


def places(text: str, patterns: Iterable[str], inside: str | None = None) -> list[Place] | None:
    """Every place where one of the patterns occurs, in order; None where there is no definition named `inside`.

    `inside` is a function, a Class or a Class.method. An assignment to a plain name also finds a parameter's default of
    that name.
    """
    root = _parsed(text)
    scopes = _definitions(root, inside) if inside else [root]
    if not scopes:
        return None
    found: dict[tuple[int, int], Place] = {}
    for node in (node for scope in scopes for pattern in patterns for node in _matches(scope, pattern)):
        start = node.range().start
        found.setdefault((start.line, start.column), Place(start.line + 1, start.column, _shown(node)))
    return sorted(found.values())


def is_one_node(pattern: str) -> bool:
    """Whether a pattern is one statement or expression, so that it can match anything at all.

    A comment, the text of a string and wildcards alone are none: they would say nothing of what the code does.
    """
    if not _WILDCARD.sub("", pattern).strip():
        return False
    root = _parsed(_without_wildcards(pattern))
    nodes = root.children()
    if len(nodes) != 1 or root.find(kind="ERROR"):
        return False
    inner = nodes[0].children() if nodes[0].kind() == "expression_statement" else nodes
    return not all(node.kind() in ("comment", "string", "concatenated_string") for node in inner)


def _matches(scope: Any, pattern: str) -> Iterator[Any]:
    yield from scope.find_all(pattern=pattern)
    if not _ASSIGNMENT.match(pattern):
        return
    as_parameter = f"def f({pattern}): pass"
    parsed = _parsed(_without_wildcards(as_parameter))
    for kind in ("default_parameter", "typed_default_parameter"):
        if parsed.find(kind=kind) and not parsed.find(kind="ERROR"):
            yield from scope.find_all({"rule": {"pattern": {"context": as_parameter, "selector": kind}}})


def _without_wildcards(pattern: str) -> str:
    """The pattern as Python that parses."""
    return pattern.replace("$$$", "_any_").replace("$", "_")


def _definitions(root: Any, name: str) -> list[Any]:
    """The functions and classes of that name, those of the module before any inside others."""
    first, *rest = name.split(".")
    scopes = _named(root, first)
    scopes = [node for node in scopes if _owner(node) is None] or scopes
    for part in rest:
        scopes = [node for scope in scopes for node in _named(scope, part) if _owner(node) == scope.range()]
    return scopes


def _named(scope: Any, name: str) -> list[Any]:
    nodes = [node for kind in _DEFINITIONS for node in scope.find_all(kind=kind)]
    return [node for node in nodes if (field := node.field("name")) and field.text() == name]


def _owner(node: Any) -> Any:
    """The range of the definition around a node."""
    return next((outer.range() for outer in node.ancestors() if outer.kind() in _DEFINITIONS), None)


def _shown(node: Any) -> str:
    """The code on one line, cut where it is long; of what has a body, the line that heads it."""
    body, text = node.field("body"), node.text()
    head = text[: body.range().start.index - node.range().start.index] if body else text
    line = " ".join(head.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 4] + " ..."


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    from ast_grep_py import SgRoot  # noqa: PLC0415 - listing claims does without it

    return SgRoot(text, "python").root()

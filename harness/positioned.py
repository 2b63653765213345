"""YAML with places: plain data, and for each key and item the line and column where it stands.

YAML loses input quietly; this reader refuses where it would: two equal keys, a key that YAML takes for true or false, a
number that YAML takes for text (1e-4) or that is not what it looks like (010, 1:30), one that is not finite, tags,
anchors and aliases, several documents, oversized or deeply nested files.
"""

import difflib
import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES, MAX_DEPTH = 1 << 20, 40
MANY = 24  # names that are listed in a message
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Path_ = tuple[str | int, ...]
Place = tuple[int, int]

_NOT_TEXT = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_NEARLY_A_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)[eE][-+]?\d+|[-+]\.\d+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_CONSTRUCT = {kind: getattr(_CONSTRUCTOR, f"construct_yaml_{kind}") for kind in ("bool", "null")}
_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong in a file, where, and what mends it."""

    file: str
    line: int
    column: int
    message: str  # "problem. fix"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class Problems(Exception):  # noqa: N818 - it is all the problems of a folder at once
    """One or more files cannot be used."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class Document:
    """Plain data, and the place of each part by its path."""

    file: str
    data: Any
    places: dict[Path_, Place]

    def problem(self, path: Path_, message: str) -> Problem:
        """A problem at a path; steps that are not in the data are left out."""
        known: Path_ = ()
        for step in path:
            if (*known, step) in self.places:
                known = (*known, step)
        line, column = self.places.get(known, (1, 1))
        return Problem(self.file, line, column, message)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?``, or the words that are known where none is close."""
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    if len(names) > MANY:
        return f"None of the {len(names)} that are known is close to it."
    return f"It is one of: {', '.join(names)}."


def shown(value: Any, most: int = 60) -> str:
    """A value as it would be written in Python, shortened in the middle so that its quote or bracket is closed."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 4]}...{text[-1]}"


def read(file: Path) -> Document:
    """Read one YAML file; Problems where it cannot be taken as it stands."""
    name = str(file)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise Problems([Problem(name, 1, 1, f"the file is larger than {MAX_BYTES} bytes. Split it.")])
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Problems([Problem(name, 1, 1, f"cannot be read: {error.strerror}. Check the path.")]) from error
    except UnicodeDecodeError as error:
        raise Problems([Problem(name, 1, 1, f"is not UTF-8: byte {error.start}. Save it as UTF-8.")]) from error
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """Read YAML text under a file's name; Problems as for `read`."""
    if odd := _NOT_TEXT.search(text):
        *lines, last = _BREAK.split(text[: odd.start()])
        message = f"the character {odd.group()!a} is not text. Remove it."
        raise Problems([Problem(name, len(lines) + 1, len(last) + 1, message)])
    try:
        _refuse_what_is_not_plain(text, name)
        node = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        raise Problems([_syntax_problem(error, name)]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = f"is not YAML: {str(error).splitlines()[0]}. Remove what is not text."
        raise Problems([Problem(name, 1, 1, message)]) from error
    if node is None:
        raise Problems([Problem(name, 1, 1, "the file is empty. Start one with: python -m harness new ID.")])
    problems: list[Problem] = []
    places: dict[Path_, Place] = {}
    data = _plain(node, (), places, problems, name)
    if problems:
        raise Problems(problems)
    return Document(name, data, places)


def _refuse_what_is_not_plain(text: str, name: str) -> None:
    """Depth, tags, anchors: seen in the stream of events, before anything is built or expanded."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise Problems([_at(event, name, f"is nested more than {MAX_DEPTH} levels deep. Flatten it.")])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Problems([_at(event, name, "anchors and aliases are not read. Write the value out.")])
        if tag := getattr(event, "tag", None):
            raise Problems([_at(event, name, _tag_message(tag))])


def _tag_message(tag: str) -> str:
    kind = tag.removeprefix("tag:yaml.org,2002:")
    fix = "Quote the value." if kind in ("timestamp", "value", "merge") else "Remove it, and quote what is text."
    return f"the tag {shown(kind)} is not read. {fix}"


def _at(item: Any, file: str, message: str) -> Problem:
    mark = item.start_mark
    return Problem(file, mark.line + 1, mark.column + 1, message)


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or error.context or "is not YAML").strip()
    if "mapping values are not allowed" in problem:
        fix = "A value that holds ': ' is quoted, or stands below '>-'."
    elif "expected a single document" in f"{error.context} {problem}":
        problem, fix = "a second document begins", "Put each claim into a file of its own."
    elif "tag" in problem:
        fix = "Remove the tag."
    else:
        fix = "Check quotes, brackets and indentation here."
    return Problem(name, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, f"{problem}. {fix}")


def _plain(node: Any, path: Path_, places: dict[Path_, Place], problems: list[Problem], name: str) -> Any:
    places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if node.tag not in _PLAIN_TAGS:
        problems.append(_at(node, name, _tag_message(node.tag)))
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), places, problems, name) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, places, problems, name)
    return _scalar(node, problems, name)


def _mapping(node: Any, path: Path_, places: dict[Path_, Place], problems: list[Problem], name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, kind, odd = key_node.value, key_node.tag.rsplit(":", 1)[-1], ""
        if not isinstance(key_node, yaml.ScalarNode):
            odd = "a key is a list or a mapping. Use a word; quote it if it has brackets."
        elif kind != "str":
            what = _KINDS.get(kind, f"a {kind}")
            odd = f"the key {shown(key)} is {what} in YAML, not a word. Rename or quote it."
        elif key in result:
            odd = f"the key {shown(key)} stands twice, first in line {places[(*path, key)][0]}. Remove one."
        if odd:
            problems.append(_at(key_node, name, odd))
            continue
        places[(*path, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        result[key] = _plain(value_node, (*path, key), places, problems, name)
    return result


def _scalar(node: Any, problems: list[Problem], name: str) -> Any:
    text, kind = node.value, node.tag.rsplit(":", 1)[-1]
    if node.style:  # quoted, or a block: text, whatever it looks like
        return text
    if kind in ("int", "float"):
        return _number(node, problems, name)
    if kind == "bool" and text.lower() not in ("true", "false"):
        problems.append(_at(node, name, f"YAML reads {text!r} as a truth value. Write true or false, or quote it."))
    elif kind == "str" and _NEARLY_A_NUMBER.fullmatch(text):
        right = _yaml_number(text)
        problems.append(_at(node, name, f"YAML reads {shown(text)} as text, not as a number. Write {right}"))
    return text if kind == "str" else _CONSTRUCT[kind](node)


def _number(node: Any, problems: list[Problem], name: str) -> Any:
    """A number that reads in decimal what it says; octal, hexadecimal, base 60 and what no float holds are refused."""
    text = node.value
    try:
        value = float(text) if "." in text or "e" in text.lower() else int(text)
        size = math.inf if abs(value) > sys.float_info.max else value
    except ValueError:  # int() takes a few thousand digits
        value, size = 0, math.inf if text.lstrip("+-").isdigit() else math.nan
    if math.isnan(size) or re.match(r"[-+]?0[\d_]", text):
        what = "is not finite" if _NOT_FINITE.fullmatch(text) else "is not a plain decimal number"
        fix = "Write a number in decimal digits, or quote it."
    elif math.isinf(size) or (size == 0 and re.search("[1-9]", text.lower().partition("e")[0])):
        what, fix = f"is too {'large' if size else 'small'} for a float", "Write one between 1.0e-300 and 1.0e+300."
    else:
        return value
    problems.append(_at(node, name, f"{shown(text)} {what}. {fix}"))
    return 0


def _yaml_number(text: str) -> str:
    """The same number as YAML reads one: digits on both sides of the point, and a sign in the exponent."""
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    sign = mantissa[0] if mantissa[0] in "+-" else ""
    whole, _, part = mantissa.lstrip("+-").partition(".")
    number = f"{sign}{whole or '0'}.{part or '0'}"
    if not exponent:
        return number
    return f"{number}e{exponent if exponent[0] in '+-' else f'+{exponent}'}"

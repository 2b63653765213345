"""Whether plain data has the keys and types that a model declares: what pydantic finds, in words and at its own key."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from harness.claims import BOUNDS
from harness.positioned import Path_, shown, suggestion

Finding = tuple[Path_, str]
"""A path in a document, and ``problem. fix``."""

SUBJECTS = ("microgpt", "gpt2", "gpt1", "torch")
REFERENCES = {
    "torch": "PyTorch",
    "paper": "the papers' equations",
    "gpt2": "the Hugging Face GPT-2 module",
    "huggingface": "Hugging Face transformers",
}
_SIDES = (*REFERENCES, "value", "itself")
_CHOICES = {"of": SUBJECTS, "equals": _SIDES, "differs": _SIDES, "within": tuple(BOUNDS)}
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def odd_shape(data: Any, model: Any, start: Path_ = ()) -> list[Finding]:
    """What is not as the model declares it; `start` is where the data stands in its document."""
    try:
        TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        at: dict[Path_, list[Any]] = {}
        for item in error.errors(include_url=False):
            at.setdefault(_path(item, data), []).append(item)
        # An alternative that is not meant finds fault with the whole of what another one looks into.
        inner = {path[:i] for path in at for i in range(len(path))}
        return [((*start, *path), _in_words(items, path, model)) for path, items in at.items() if path not in inner]
    return []


def _path(item: Any, data: Any) -> Path_:
    """Where a problem stands in the data: pydantic names the alternatives of a union too, which are no keys."""
    path: Path_ = ()
    for step in item["loc"]:
        in_mapping = isinstance(data, dict) and step in data
        if in_mapping or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            path, data = (*path, step), data[step]
    return (*path, item["loc"][-1]) if item["type"] == "missing" else path


def _in_words(items: Sequence[Any], path: Path_, model: Any) -> str:
    """One message for what all the alternatives find at one place."""
    name = next((step for step in reversed(path) if isinstance(step, str)), "the file")
    fitting = [item for item in items if not _of_another_kind(item)]
    item = (fitting or items)[0]
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "extra_forbidden":
        return f"unknown key {shown(name)}. {suggestion(name, _keys_beside(model, item['loc']))}"
    if kind == "missing":
        return f"the key {name!r} is missing. Add it."
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _no_alternative(name, value)
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        known = _CHOICES.get(name, choices)
        if value in known:
            return f"{value!r} for {name!r} takes more than its name. Write {name}: {{{value}: ...}}"
        return f"unknown value {shown(value)} for {name!r}. {suggestion(str(value), known)}"
    if kind in _TYPES:
        types = dict.fromkeys(_TYPES[each["type"]] for each in items if each["type"] in _TYPES)
        return f"{name!r} takes {' or '.join(types)}, not {shown(value)}. Change the value."
    if kind in ("too_short", "string_too_short"):
        return f"{name!r} takes at least 1 {'item' if kind == 'too_short' else 'word'}, not {shown(value)}. Add one."
    if kind == "string_pattern_mismatch":
        return f"{name!r} takes text like {context['pattern']}, not {shown(value)}. Change the value."
    return f"{name!r}: {item['msg'][:1].lower()}{item['msg'][1:]}, not {shown(value)}. Change the value."


def _of_another_kind(item: Any) -> bool:
    """Whether this alternative is about another kind of value: a single one where a list stands, or the reverse."""
    return item["type"] in _TYPES or (item["type"] == "literal_error" and isinstance(item["input"], list | dict))


def _no_alternative(name: str, value: Any) -> str:
    choices = _CHOICES.get(name, ())
    if isinstance(value, dict) and len(value) > 1:
        return f"{name!r} names {' and '.join(value)}. Give one of them alone."
    written = next(iter(value)) if isinstance(value, dict) and value else value
    if written in choices:
        return f"{written!r} for {name!r} takes no options. Write {name}: {written}"
    return f"{name!r} cannot be {shown(written)}. {suggestion(str(written), choices)}"


def _keys_beside(model: Any, loc: Iterable[Any]) -> list[str]:
    """The keys that the record at loc takes, found by walking the model along it."""
    known: list[str] = []
    records = _records(model)
    for step in (*tuple(loc)[:-1], None):
        known = [f.alias or n for record in records for n, f in record.model_fields.items()] or known
        inner = [
            inside
            for record in records
            for n, f in record.model_fields.items()
            if step in (n, f.alias)
            for inside in _records(f.annotation)
        ]
        records = inner or records
    return known


def _records(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [record for inner in get_args(annotation) for record in _records(inner)]

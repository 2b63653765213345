"""The reader of YAML: what it takes, where it says that things stand, and everything that it refuses."""

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import positioned
from harness.positioned import Problem, Problems, parse, read, shown, suggestion

CLAIMS = Path(__file__).resolve().parents[2] / "claims"
REAL = [file.read_bytes() for file in sorted(CLAIMS.glob("*.yaml"))]
BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
THOROUGH = settings(max_examples=200, deadline=None, derandomize=True)
FIX = re.compile(r"[.] [A-Z][a-z]* \S")


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request, monkeypatch):
    """Both of PyYAML's readers: which of them is there depends on how it was installed."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(positioned, "Loader", getattr(yaml, request.param))


def problems_in(text):
    with pytest.raises(Problems) as refusal:
        parse(text, "claim.yaml")
    return refusal.value.problems


def refusal(text):
    """The one problem of a text."""
    (problem,) = problems_in(text)
    assert problem.file == "claim.yaml"
    assert FIX.search(problem.message), problem.message
    return problem


def complete(problem):
    """Whether a problem says where it is, what it is and, in a sentence, what mends it; all in one line."""
    placed = bool(problem.file) and problem.line >= 1 and problem.column >= 1
    return placed and bool(FIX.search(problem.message)) and len(str(problem).splitlines()) == 1


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1", {"a": 1}),
        ("a: 1.0e-4", {"a": 1e-4}),
        ("a: >-\n  1e-4", {"a": "1e-4"}),
        ("a: 'no'", {"a": "no"}),
        ("a: [true, False, ~, null, x]", {"a": [True, False, None, None, "x"]}),
        ("a:", {"a": None}),
        ("'on': 1\n\"1\": 2", {"on": 1, "1": 2}),
        ("a: 'b: c'", {"a": "b: c"}),
        ("a: >-\n  b: c\n  d", {"a": "b: c d"}),
        ("just words", "just words"),
        ("---\na: 1\n...\n", {"a": 1}),
        ("a: [0, -0.0, 1_000, 1., 007x]", {"a": [0, 0.0, 1000, 1.0, "007x"]}),
        ("a: ['010', '1:30', '.inf', '1e-4']", {"a": ["010", "1:30", ".inf", "1e-4"]}),
        ("a: 0o17", {"a": "0o17"}),
        ("a: “é” 😀", {"a": "“é” 😀"}),
    ],
)
def test_plain_data_is_read_as_it_stands(loader, text, data):
    assert parse(text, "f").data == data


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\xef\xbb\xbfid: a\n")
    document = read(file)
    assert document.data == {"id": "a"}
    assert document.places["id",] == (1, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_places_are_lines_and_columns_whatever_ends_a_line(loader, end):
    places = parse(end.join(["# comment", "a: 1", "b:", "  - é: [x, y]", "    c: 2", ""]), "f").places
    assert places["a",] == (2, 1)
    assert places["b", 0] == (4, 5)
    assert places["b", 0, "é", 1] == (4, 12)
    assert places["b", 0, "c"] == (5, 5)


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [((), 1, 1), (("b",), 2, 1), (("b", 1), 4, 5), (("b", "tag", 1, "other"), 4, 5), (("c", "d"), 1, 1)],
)
def test_a_problem_stands_at_the_deepest_step_that_there_is(path, line, column):
    document = parse("a: 1\nb:\n  - x\n  - y\n", "f")
    assert document.problem(path, "odd. Mend it.") == Problem("f", line, column, "odd. Mend it.")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("1e-4", "1.0e-4"),
        ("1E5", "1.0e+5"),
        ("-2e10", "-2.0e+10"),
        ("+3e-8", "+3.0e-8"),
        (".5e3", "0.5e+3"),
        ("1.e5", "1.0e+5"),
        ("-.5e3", "-0.5e+3"),
        ("-.5", "-0.5"),
    ],
)
def test_a_number_that_yaml_takes_for_text_is_refused_with_the_number_to_write(loader, written, right):
    problem = refusal(f"a:\n  b: {written}")
    assert (problem.line, problem.column) == (2, 6)
    assert problem.message == f"YAML reads {written!r} as text, not as a number. Write {right}"
    assert parse(f"a: {right}", "f").data == {"a": float(written)}


BLOCK_FIX = "A value that holds ': ' is quoted, or stands below '>-'."
TAG_FIX = "Remove it, and quote what is text."
DECIMAL = "Write a number in decimal digits, or quote it."
RANGE = "Write one between 1.0e-300 and 1.0e+300."

REFUSED = {
    # keys
    "on as a key": ("a: 1\non: 2", 2, 1, "'on' is true or false", "quote it."),
    "yes as a key": ("a:\n  yes: 2", 2, 3, "'yes' is true or false", "quote it."),
    "a number as a key": ("1: x", 1, 1, "'1' is a number in YAML, not a word", "quote it."),
    "a date as a key": ("2020-01-01: x", 1, 1, "'2020-01-01' is a date", "quote it."),
    "nothing as a key": ("a: 1\n~: x", 2, 1, "'~' is nothing", "quote it."),
    "a merge": ("a: {<<: {b: 1}}", 1, 5, "'<<' is a merge", "quote it."),
    "a list as a key": ("a: 1\n[b]: c", 2, 1, "a key is a list or a mapping", "Use a word"),
    "a mapping as a key": ("? {b: 1}\n: c", 1, 3, "a key is a list or a mapping", "Use a word"),
    "two equal keys": ("a: 1\nb: 2\na: 3", 3, 1, "'a' stands twice, first in line 1", "Remove one."),
    "two equal keys, one quoted": ("x:\n  a: 1\n  'a': 3", 3, 3, "'a' stands twice, first in line 2", "Remove one."),
    "two equal keys in a line": ("{a: 1, a: 1}", 1, 8, "'a' stands twice, first in line 1", "Remove one."),
    # values
    "no": ("a: no", 1, 4, "'no' as a truth value", "quote it."),
    "a colon in a value": ("a: 1\nb: c: d", 2, 5, "mapping values are not allowed", BLOCK_FIX),
    "a date": ("a: 2020-01-01", 1, 4, "'timestamp'", "Quote the value."),
    "an equals sign": ("a: =", 1, 4, "'value'", "Quote the value."),
    "digits without a number": ("a: 0x_", 1, 4, "'0x_' is not a plain decimal number", DECIMAL),
    "hexadecimal": ("a: 0x1F", 1, 4, "'0x1F' is not a plain decimal number", DECIMAL),
    "binary": ("a: 0b11", 1, 4, "'0b11' is not a plain decimal number", DECIMAL),
    "octal": ("a: 010", 1, 4, "'010' is not a plain decimal number", DECIMAL),
    "octal in groups": ("a: -0_17", 1, 4, "'-0_17' is not a plain decimal number", DECIMAL),
    "base 60": ("a: 1:30", 1, 4, "'1:30' is not a plain decimal number", DECIMAL),
    "base 60 with a point": ("a: [1:30.5]", 1, 5, "'1:30.5' is not a plain decimal number", DECIMAL),
    "infinity": ("a: -.Inf", 1, 4, "'-.Inf' is not finite", DECIMAL),
    "not a number": ("a:\n  - .nan", 2, 5, "'.nan' is not finite", DECIMAL),
    "overflow": ("a: 1.0e+400", 1, 4, "'1.0e+400' is too large for a float", RANGE),
    "underflow": ("a: -1.0e-400", 1, 4, "'-1.0e-400' is too small for a float", RANGE),
    "an integer that overflows": ("a: 1" + "0" * 400, 1, 4, "0...' is too large for a float", RANGE),
    "too many digits": ("a: " + "9" * 5000, 1, 4, "9...' is too large for a float", RANGE),
    # tags, anchors
    "a Python object": ("a: !!python/object:os.system x", 1, 4, "'python/object:os.system'", TAG_FIX),
    "a Python call": ("!!python/object/apply:os.system [ls]", 1, 1, "'python/object/apply:os.system'", TAG_FIX),
    "a tag of one's own": ("a:\n  b: !mine x", 2, 6, "'!mine'", TAG_FIX),
    "a tag of YAML's own": ("a: !!str 5", 1, 4, "'str'", TAG_FIX),
    "a tag of another kind": ("a: !!seq {b: 1}", 1, 4, "'seq'", TAG_FIX),
    "a tag that the value is not": ("a: !!bool maybe", 1, 4, "'bool'", TAG_FIX),
    "a tag of a number, of nothing": ("a: !!int ''", 1, 4, "'int'", TAG_FIX),
    "a tag of text as a list": ("a: !!seq x", 1, 4, "'seq'", TAG_FIX),
    "no particular tag": ("a: ! 5", 1, 4, "'!'", TAG_FIX),
    "a tag of a key": ("!!int a: 5", 1, 1, "'int'", TAG_FIX),
    "a handle of nobody": ("a: !f!x y", 1, 4, "tag handle", "Remove the tag."),
    "an anchor": ("a: 1\nb: &x 1", 2, 4, "anchors and aliases", "Write the value out."),
    "an alias": ("b: *x", 1, 4, "anchors and aliases", "Write the value out."),
    # the whole
    "a second document": (
        "a: 1\n---\nb: 2",
        2,
        1,
        "a second document begins",
        "Put each claim into a file of its own.",
    ),
    "two documents of nothing": ("---\n---\n", 2, 1, "a second document begins", "Put each claim into a file"),
    "nothing": ("", 1, 1, "the file is empty", "python -m harness new"),
    "comments": ("# a\n\n# b\n", 1, 1, "the file is empty", "python -m harness new"),
    "a tab as indentation": ("a:\n\tb: 1", 2, 1, "cannot start any token", "indentation here."),
    "a quoted text with a tail": ("a: 'it's'", 1, 8, "expected", "Check quotes"),
    "an escape that is none": ('a: 1\nb: "\\q"', 2, 5, "unknown escape", "Check quotes"),
    "too deep in lists": ("- 1\n" + "- " * 41 + "a", 2, 81, "more than 40 levels", "Flatten it."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_yaml_would_lose_or_mistake_is_refused_where_it_stands(loader, name):
    text, line, column, what, fix = REFUSED[name]
    problem = refusal(text)
    assert what in problem.message
    assert fix in problem.message
    assert problem.line == line
    if "Check" not in fix:  # the two readers differ in the column where syntax breaks
        assert problem.column == column


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: 'x", 2), ('a: "x', 1), ("a: [1, 2", 1), ("a: 1\nb: {c: 1\nd: 2", 2), ("a: ]", 1), ("a: 1\n b: 2", 2)],
)
def test_unclosed_quotes_and_brackets_are_refused_from_their_line_on(loader, text, line):
    assert line <= refusal(text).line <= text.count("\n") + 2


def test_keys_and_values_are_refused_together_each_in_its_place():
    found = problems_in("on: 1\na: no\na: 010\nb: 2020-01-01")
    assert [(p.line, p.column) for p in found] == [(1, 1), (2, 4), (3, 1), (4, 4)]


def test_an_expanding_file_is_refused_at_its_first_anchor_before_anything_is_expanded(loader, monkeypatch):
    monkeypatch.setattr(yaml, "compose", lambda *_, **__: pytest.fail("it was expanded"))
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    problem = refusal("\n".join(lines))
    assert (problem.line, problem.column) == (1, 4)
    assert "anchors" in problem.message


@pytest.mark.parametrize("text", ["[" * 41 + "]" * 41, "a: " + "{b: " * 40 + "1" + "}" * 40, "[" * 900])
def test_deep_nesting_is_refused_before_it_is_composed(loader, monkeypatch, text):
    monkeypatch.setattr(yaml, "compose", lambda *_, **__: pytest.fail("it was composed"))
    assert "more than 40 levels" in refusal(text).message


def test_forty_levels_are_read_and_ten_thousand_refused():
    assert parse("[" * 40 + "]" * 40, "f").data != []
    assert refusal("[" * 10_000).line == 1


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x7f", "\ud800", "\uffff", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_what_is_not_text_is_refused_in_its_place(loader, character, end):
    problem = refusal(f"é: 1{end}b: é{character}y{end}")
    assert (problem.line, problem.column) == (2, 5)
    assert problem.message == f"the character {character!a} is not text. Remove it."


# --- files ------------------------------------------------------------------------------------------------------------


def refused_file(file):
    with pytest.raises(Problems) as refusal:
        read(file)
    (problem,) = refusal.value.problems
    assert problem.file == str(file)
    assert complete(problem), problem
    return problem


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: \xff", "is not UTF-8: byte 3. Save it as UTF-8."),
        ("a: é".encode("latin-1"), "is not UTF-8: byte 3. Save it as UTF-8."),
        ("a: 1".encode("utf-16"), "is not UTF-8: byte 0. Save it as UTF-8."),
        (b"\xef\xbb\xbf", "the file is empty."),
        (b"a: " + b"x" * (1 << 20), "larger than 1048576 bytes. Split it."),
        (b"a: 1\0", "'\\x00' is not text. Remove it."),
    ],
)
def test_files_that_are_no_text_or_too_large_are_refused(tmp_path, content, what):
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    assert what in refused_file(file).message


def test_files_that_cannot_be_read_are_refused(tmp_path):
    assert "No such file" in refused_file(tmp_path / "c.yaml").message
    assert "cannot be read" in refused_file(tmp_path).message


def test_problems_are_sorted_and_told_once():
    early, late = Problem("a", 2, 1, "x. Mend it."), Problem("a", 10, 1, "x. Mend it.")
    problems = Problems([late, early, late])
    assert problems.problems == [early, late]
    assert str(problems) == "a:2:1: x. Mend it.\na:10:1: x. Mend it."


def test_a_suggestion_is_the_closest_word_or_all_of_them():
    assert suggestion("wdith", ["width", "scales"]) == "Did you mean 'width'?"
    assert suggestion("zzz", ["b", "a", "b"]) == "It is one of: a, b."


def test_a_long_value_is_shortened_and_its_quote_or_bracket_closed():
    assert shown("a") == "'a'"
    assert shown("x" * 58) == repr("x" * 58)
    for value, end in (("x" * 59, "...'"), (["x" * 80], "...]"), ({"a": "x" * 80}, "...}")):
        assert len(shown(value)) == 60
        assert shown(value).endswith(end)


# --- anything at all --------------------------------------------------------------------------------------------------

SIGNS = " \n\t:-[]{}'\"&*!|>#%@`,?~=01.eE+_xé\0\r\x85\u2028\ufeff"
PIECES = ["a: ", "b:\n", "- ", "\n", "  ", "1e-4", "no", "[", "]", "{", "}", "'", '"', ">-\n", "---\n", "# c", "? "]
PIECES += ["&a ", "*a", "<<: ", "2020-01-01", ".inf", "0x_", "1:30", "%YAML 1.1\n", "!t ", "\t", "\r\n", "é", "\0"]
TAGS = [f"!!{kind} " for kind in ("str", "int", "float", "bool", "null", "map", "seq", "set", "binary")]
TEXTS = {
    "any text": st.text(max_size=60),
    "YAML's signs": st.text(alphabet=SIGNS, max_size=40),
    "pieces of YAML": st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    "tagged pieces": st.lists(st.sampled_from([*TAGS, "a: ", "x", "''", "[", "]", "{", "}", "\n", "5"])).map("".join),
}


@st.composite
def damaged(draw):
    """A real claim file (or the bibliography) after up to three accidents."""
    lines = draw(st.sampled_from(REAL)).splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        accident = draw(st.sampled_from(["delete", "double", "move", "shorten", "words", "bytes", "text"]))
        column = draw(st.integers(0, len(lines[i])))
        if accident == "delete" and len(lines) > 1:
            del lines[i]
        elif accident == "double":
            lines.insert(j, lines[i])
        elif accident == "move":
            lines[i], lines[j] = lines[j], lines[i]
        elif accident == "shorten":
            lines[i] = lines[i][:column]
        elif accident == "words":  # a word of one line in the place of a word of another
            words, others = lines[i].split(b" "), lines[j].split()
            words[column % len(words)] = others[column % len(others)] if others else b""
            lines[i] = b" ".join(words)
        else:
            put = draw(st.binary(max_size=4)) if accident == "bytes" else draw(st.text(SIGNS, max_size=4)).encode()
            lines[i] = lines[i][:column] + put + lines[i][column:]
    return b"".join(lines)


def attempt(reader, *arguments):
    """What a reader of text gives, or nothing and the problems."""
    try:
        return reader(*arguments), []
    except Problems as refusal:
        return None, refusal.problems


def read_or_refused(document, problems, lines):
    places = document.places.values() if document else [(problem.line, problem.column) for problem in problems]
    return all(map(complete, problems)) and all(1 <= line <= lines + 1 and column >= 1 for line, column in places)


@pytest.mark.parametrize("kind", TEXTS)
@THOROUGH
@given(data=st.data())
def test_any_text_is_read_or_refused_in_sentences(kind, data):
    text = data.draw(TEXTS[kind])
    document, problems = attempt(parse, text, "f")
    assert read_or_refused(document, problems, len(BREAK.split(text))), problems
    assert document or problems


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "c.yaml"


@THOROUGH
@given(content=damaged())
def test_any_damaged_claim_file_is_read_or_refused_in_sentences(file, content):
    file.write_bytes(content)
    document, problems = attempt(read, file)
    assert read_or_refused(document, problems, len(BREAK.split(content.decode("utf-8", "replace")))), problems
    assert document or problems


@THOROUGH
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_with_point_and_sign_of_exponent_is_read_as_it_is(number):
    mantissa, _, exponent = f"{number!r}".partition("e")
    written = (mantissa if "." in mantissa else f"{mantissa}.0") + (f"e{int(exponent):+d}" if exponent else "")
    (value,) = parse(f"a: {written}", "f").data.values()
    assert isinstance(value, float)
    assert math.copysign(1, value) == math.copysign(1, number)
    assert value == number

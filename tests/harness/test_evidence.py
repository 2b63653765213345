"""Evidence in the subject's own file: where a pattern stands, that it is gone, or that it stands in several places."""

import pytest

from harness import evidence
from harness.claims import Absent, Cite, Claim, Find, Source

CODE = '''\
"""scale = (mean_square + 1e-5) ** -0.5 in a docstring."""
# scale = (mean_square + 1e-5) ** -0.5 in a comment
TEXT = "scale = (mean_square + 1e-5) ** -0.5"
LONG = """
scale = (mean_square + 1e-5) ** -0.5
"""


class Value:
    def __init__(self, data):
        self.data = data

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    async def later(self):
        return await self.log()


class Other(Value):
    def log(self):
        return Value(math.log(self.data), (self,), (2 / self.data,))


@decorated
def rmsnorm(x, eps: float = 1e-5):
    mean_square = sum(xi * xi for xi in x) / len(x)  # (mean_square + 1e-5) ** -0.5
    scale = (mean_square
             + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def gpt(x, keys, values):
    def log(y):
        return y.log()

    keys[0].append(linear(x, "wk"))
    values[layer].append(log(x))
    return softmax(softmax(x))
'''
SOURCE = Source(title="A Title", authors="Zhang", year=2019, identifier="arXiv:1", link="https://example.org/1")


def state(item, text=CODE, path="model.py"):
    """The one result of one piece of evidence."""
    claim = Claim.model_validate(
        {
            "id": "one",
            "about": "microgpt",
            "title": "One",
            "claim": "One.",
            "evidence": [item.model_dump(exclude_none=True)],
        }
        | {"checks": [{"id": "a", "observe": "rms_norm", "of": "microgpt", "equals": "torch"}]}
    )
    (found,) = evidence.search(claim, path, text, {"zhang": SOURCE})
    assert found.source == item.source
    return found


def find(*patterns, inside=None):
    return Find(source="subject", find=list(patterns), inside=inside)


def absent(pattern, inside=None):
    return Absent(source="subject", absent=pattern, inside=inside)


ROOT = "($X + 1e-5) ** -0.5"


# --- found ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "line", "shown"),
    [
        (find(ROOT), 28, "(mean_square + 1e-5) ** -0.5"),
        (find("(mean_square + 1e-5) ** -0.5"), 28, "(mean_square + 1e-5) ** -0.5"),
        (find(ROOT, inside="rmsnorm"), 28, "(mean_square + 1e-5) ** -0.5"),
        (find("$SUM / len(x)"), 27, "sum(xi * xi for xi in x) / len(x)"),
        (find("keys[$L].append($$$)", inside="gpt"), 37, 'keys[0].append(linear(x, "wk"))'),
        (find("values[layer].append($X)"), 38, "values[layer].append(log(x))"),
        (find("1 / self.data", inside="Value"), 14, "1 / self.data"),
        (find("$X / self.data", inside="Value.log"), 14, "1 / self.data"),
        (find("$X / self.data", inside="Other.log"), 22, "2 / self.data"),
        (find("$X.log()", inside="Value.later"), 17, "self.log()"),
        (find("$X.log()", inside="gpt.log"), 35, "y.log()"),
        (find("class $N: $$$", inside="Value"), 9, "class Value:"),
        (find("softmax(softmax($X))"), 39, "softmax(softmax(x))"),
        (find("nothing($$$)", ROOT), 28, "(mean_square + 1e-5) ** -0.5"),
        (find(ROOT, "(mean_square + $E) ** -0.5", "(mean_square + 1e-5) ** $P"), 28, "(mean_square + 1e-5) ** -0.5"),
        (find("self.data = data"), 11, "self.data = data"),
    ],
)
def test_code_is_found_with_its_line(item, line, shown):
    found = state(item)
    assert (found.state, found.where, found.shown, found.message) == ("found", f"model.py:{line}", shown, "")


@pytest.mark.parametrize("text", [CODE.replace("\n", "\r\n"), CODE + "def broken(:\n", f"{CODE}\n# é ∂ 𝒳\n"])
def test_line_ends_letters_and_a_syntax_error_elsewhere_do_not_matter(text):
    found = state(find(ROOT, inside="rmsnorm"), text)
    assert (found.state, found.where) == ("found", "model.py:28")


def test_the_line_is_counted_in_the_text_that_is_given():
    assert state(find(ROOT), f"\n\n{CODE}", "folder/other.py").where == "folder/other.py:30"
    assert state(find("x + 1"), "é = '∂'; y = x + 1\n").where == "model.py:1"


# --- gone -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        find("(mean_square + 1e-6) ** -0.5"),
        find("($X + 1e-05) ** -0.5"),
        find("(mean_square + 1e-5) ** 0.5"),
        find("mean_square + 1e-5 ** -0.5"),
        find("scale = nothing"),
        find(ROOT, inside="gpt"),
        find(ROOT, inside="Value.log"),
        find("3 / self.data", "4 / self.data", inside="Value"),
        find("keys[$L].append()", inside="gpt"),
        find("softmax($A, $B)"),
        find("$X.log()", inside="Other"),
    ],
)
def test_what_is_not_there_is_gone_and_named(item):
    found = state(item)
    assert (found.state, found.where, found.shown) == ("gone", "model.py", "")
    assert all(repr(pattern) in found.message for pattern in item.find)
    assert found.message.endswith(f"is not there inside {item.inside}" if item.inside else "is not there")


@pytest.mark.xfail(strict=True, reason="its arguments are no list, which is what $$$ stands for")
def test_a_call_whose_only_argument_is_a_generator_is_a_call():
    assert state(find("sum($$$)", inside="rmsnorm")).state == "found"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        '"""scale = (mean_square + 1e-5) ** -0.5"""\n',
        "# scale = (mean_square + 1e-5) ** -0.5\n",
        "x = '(mean_square + 1e-5) ** -0.5'\n",
        'x = "a" """(mean_square + 1e-5) ** -0.5""" b"(mean_square + 1e-5) ** -0.5"\n',
        "x = 1  # (mean_square + 1e-5) ** -0.5\n",
        "def f():\n    '(mean_square + 1e-5) ** -0.5'\n",
        "x = r'(mean_square + 1e-5) ** -0.5'\n",
    ],
)
def test_comments_and_the_text_of_strings_are_no_code(text):
    assert state(find(ROOT), text).state == "gone"
    assert state(absent(ROOT), text).state == "found"


def test_what_is_computed_inside_a_string_is_code():
    assert state(find(ROOT), "x = f'{(m + 1e-5) ** -0.5}'\n").where == "model.py:1"


@pytest.mark.parametrize(
    "inside", ["nothing", "Value.nothing", "nothing.log", "Value.rmsnorm", "mean_square", "Log", "Value.data"]
)
def test_a_definition_that_is_not_there_is_gone_whether_or_not_a_pattern_is_wanted(inside):
    for item in (find("$X.log()", inside=inside), absent("$X.log()", inside=inside)):
        found = state(item)
        assert found.state == "gone"
        assert found.message == f"no definition of {inside}"


# --- ambiguous, absent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (find("math.log(self.data)"), (14, 22)),
        (find("$X / self.data"), (14, 22)),
        (find("1 / self.data", "2 / self.data"), (14, 22)),
        (find("linear($$$)", "softmax(softmax($X))", inside="gpt"), (37, 39)),
        (find("softmax($$$)", inside="gpt"), (39, 39)),
        (find("def log($S): $$$"), (13, 21, 34)),
    ],
)
def test_what_is_there_more_than_once_is_ambiguous_and_every_place_is_shown(item, lines):
    found = state(item)
    assert found.state == "ambiguous"
    assert found.where == ", ".join(f"model.py:{line}" for line in lines)
    assert found.message.startswith(f"it is there {len(lines)} times")


@pytest.mark.parametrize(
    "item", [absent("torch"), absent("import $X"), absent(ROOT, "gpt"), absent("mask", "Value.log")]
)
def test_what_should_be_absent_and_is_absent_is_found_so(item):
    found = state(item)
    assert (found.state, found.message, found.shown) == ("found", "", item.absent)
    assert found.where == "model.py: not there" + (f" inside {item.inside}" if item.inside else "")


@pytest.mark.parametrize(
    ("item", "where"),
    [
        (absent(ROOT), "model.py:28"),
        (absent("$X / self.data", "Other.log"), "model.py:22"),
        (absent("$X / self.data"), "model.py:14, model.py:22"),
    ],
)
def test_what_should_be_absent_and_is_there_is_gone_and_shown(item, where):
    found = state(item)
    assert (found.state, found.where) == ("gone", where)
    assert found.message.startswith(f"{item.absent!r} is there")
    assert found.message.endswith("though it should not be")
    assert found.shown


# --- citations --------------------------------------------------------------------------------------------------------


def test_a_citation_is_for_people_to_read():
    found = state(Cite(source="zhang", locator="eq. 4", quote="can be omitted"))
    assert (found.state, found.shown, found.message) == ("cited", "can be omitted", "")
    assert found.where == "Zhang (2019), A Title, arXiv:1, eq. 4"
    assert state(Cite(source="zhang", locator="eq. 4"), "").shown == ""


def test_every_piece_of_evidence_has_its_result_in_order():
    items = [
        {"source": "subject", "find": ROOT},
        {"source": "zhang", "locator": "eq. 4"},
        {"source": "subject", "absent": "mask"},
    ]
    check = {"id": "a", "observe": "rms_norm", "of": "microgpt", "equals": "torch"}
    claim = Claim.model_validate(
        {"id": "one", "about": "microgpt", "title": "One", "claim": "One.", "evidence": items, "checks": [check]}
    )
    found = evidence.search(claim, "model.py", CODE, {"zhang": SOURCE})
    assert [(each.source, each.state) for each in found] == [
        ("subject", "found"),
        ("zhang", "cited"),
        ("subject", "found"),
    ]

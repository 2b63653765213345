"""Evidence in code: found by syntax alone, in the subject and in a package that is installed and never imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import evidence, packages, syntax
from harness.claims import Absent, Claim, Find, Source
from harness.loading import load
from harness.packages import Release
from harness.positioned import Problems

ROOT = Path(__file__).resolve().parents[2]
CODE = '''\
"""self.norm(x) in a docstring."""
# self.norm(x) in a comment
NAME = "self.norm(x) in a string"


def outer(a, width=4, *, kind: str = "plain"):
    def norm(x):
        return inner(x)

    return norm(a)


class Model:
    depth: int | None = 3

    def norm(self, x):
        return x / 2

    def forward(
        self,
        x,
    ):
        x = self.norm(
            x  # twice
        )
        return self.norm(x + x)


class Other(Model):
    @property
    def forward(self):
        return other(self)
'''


# --- by syntax --------------------------------------------------------------------------------------------------------


def lines(pattern, inside=None, text=CODE):
    found = syntax.places(text, [pattern], inside)
    return None if found is None else [place.line for place in found]


@pytest.mark.parametrize(
    ("pattern", "inside", "expected"),
    [
        ("self.norm($X)", None, [23, 26]),
        ("self.norm(x)", None, [23]),
        ("x = self.norm($X)", "Model.forward", [23]),
        ("self.norm($X)", "Model", [23, 26]),
        ("self.norm($X)", "Other", []),
        ("other($X)", "Other.forward", [32]),  # behind a decorator
        ("return $X", "forward", [26, 32]),  # whichever class it stands in
        ("return $X", "norm", [8, 17]),
        ("return inner($$$)", "outer", [8]),
        ("return $X", "Model.outer", None),
        ("return $X", "outer.norm", [8]),
        ("return $X", "nothing", None),
        ("return $X", "Model.nothing", None),
        ("def norm($$$): $$$", None, [7, 16]),
        ("class Other($$$): $$$", None, [29]),
        ("depth: $T = 3", "Model", [14]),
        # an assignment to a plain name also finds the default of a parameter
        ("width = 4", "outer", [6]),
        ("width=4", None, [6]),
        ('kind: str = "plain"', None, [6]),
        ('kind: $T = "plain"', None, [6]),
        ('kind: str = "other"', None, []),
        ("width = 5", None, []),
        ("width == 4", None, []),
    ],
)
def test_a_pattern_is_found_where_it_is_code(pattern, inside, expected):
    assert lines(pattern, inside) == expected


def test_a_definition_of_the_module_comes_before_one_inside_another():
    text = "def f():\n    def g():\n        return a(1)\n\ndef g():\n    return a(2)\n"
    assert lines("a($X)", "g", text) == [6]
    assert lines("a($X)", "f.g", text) == [3]


def test_two_definitions_of_a_name_are_both_looked_into():
    text = "if x:\n    def f(): return a(1)\nelse:\n    def f(): return a(2)\n"
    assert lines("a($X)", "f", text) == [2, 4]


def test_what_is_shown_is_one_line():
    (place,) = syntax.places(CODE, ["def forward($$$): $$$"], "Model")
    assert place.shown == "def forward( self, x, ):"
    (place,) = syntax.places("x = f(" + "a, " * 100 + ")", ["x = $Y"])
    assert len(place.shown) == 160
    assert place.shown.endswith(" ...")
    (place,) = syntax.places('é = "é"\nclass A:\n    def f(self): return "é"\n', ["def f($$$): $$$"])
    assert place.shown == "def f(self):"


def test_several_patterns_at_one_place_are_one_place():
    assert len(syntax.places("x = f(1)", ["x = f($A)", "x = $B"])) == 1


@pytest.mark.parametrize(
    "pattern",
    ["x = $X", "f($$$)", "def f($$$): $$$", "class A: $$$", "$X.exp()", "return $X", 'f("a")', "@d\ndef f(): $$$"],
)
def test_a_statement_or_expression_is_one_node(pattern):
    assert syntax.is_one_node(pattern)
    assert syntax.places("pass", [pattern]) == []


@pytest.mark.parametrize(
    "pattern", ["", " ", "f(", "a b", "a; b", "a\nb", "else: $$$", "# f(x)", "a # b", '"f(x)"', '"a" "b"', "$X", "$$$"]
)
def test_anything_else_is_not(pattern):
    assert not syntax.is_one_node(pattern)


# --- in one release ---------------------------------------------------------------------------------------------------

SOURCE = Source(title="t", authors="a", year=2020, identifier="i", link="https://x", package="pkg", file="m.py")
OLD, NEW = "x = a + b\n", "x = a + b.to(a)\n"


def state(item, text, version="2.0"):
    files = {"m.py": text}
    return evidence.in_release(item, SOURCE, Release("pkg", version, files.get))


def find(pattern="x = a + b", **more):
    return Find.model_validate({"source": "s", "find": pattern, **more})


def test_found_shows_the_line_the_release_and_no_folder():
    result = state(find(), "y = 1\nx = a  +  b\n")
    assert (result.state, result.where, result.message) == ("found", "pkg 2.0 m.py:2", "")
    assert result.shown == "x = a + b"


def test_any_of_several_patterns_will_do():
    assert state(find(["x = 1", "x = a + b"]), OLD).state == "found"
    result = state(find(["x = 1", "x = 2"]), OLD)
    assert (result.state, result.message) == ("gone", "'x = 1' or 'x = 2' is not there")


def test_more_places_than_one_are_ambiguous():
    result = state(find(), OLD * 2)
    assert (result.state, result.where) == ("ambiguous", "pkg 2.0 m.py:1, pkg 2.0 m.py:2")
    assert state(find(releases="<2"), OLD * 2).state == "ambiguous"


@pytest.mark.parametrize(("version", "expected"), [("1.9", "gone"), ("2.0", "historical"), ("2.1.dev1", "historical")])
def test_a_pattern_that_is_gone_as_declared_is_historical(version, expected):
    result = state(find(releases="<2"), NEW, version)
    assert result.state == expected
    assert ("is declared for releases <2" in result.message) == (expected == "historical")


def test_what_replaced_it_is_shown_in_its_place():
    item = find(releases="<2", replaced_by="x = a + b.to($D)")
    result = state(item, "\n" + NEW)
    assert (result.state, result.where, result.shown) == ("historical", "pkg 2.0 m.py:2", "x = a + b.to(a)")
    assert result.message == "'x = a + b' is declared for releases <2; this stands in its place"


def test_where_what_replaced_it_is_gone_too_the_evidence_is_gone():
    item = find(releases="<2", replaced_by="x = a + b.to($D)")
    result = state(item, "x = 0\n")
    assert result.state == "gone"
    assert "what replaced it, 'x = a + b.to($D)' is not there" in result.message
    assert state(item, NEW * 2).state == "ambiguous"
    assert state(item, NEW, "1.0").state == "gone", "it replaces nothing where the pattern should be"


def test_what_replaced_it_may_be_of_releases_of_its_own():
    item = find(releases="<2", replaced_by={"find": "y = 1", "releases": ">=3"})
    assert state(item, NEW, "2.5").state == "historical"
    assert "is declared for >=3" in state(item, NEW, "2.5").message
    assert state(item, NEW, "3.0").state == "gone"


def test_what_replaced_it_may_stand_elsewhere():
    files = {"m.py": "", "n.py": "def f():\n    y = 1\ndef g():\n    y = 1\n"}
    item = find(releases="<2", replaced_by={"find": "y = 1", "inside": "g", "file": "n.py"})
    result = evidence.in_release(item, SOURCE, Release("pkg", "2.0", files.get))
    assert (result.state, result.where) == ("historical", "pkg 2.0 n.py:4")


def test_a_pattern_that_stayed_longer_than_declared_is_found_with_a_note():
    result = state(find(releases="<2"), OLD)
    assert (result.state, result.message) == ("found", "it is declared for releases <2 alone, and still holds")


def test_an_absence_is_declared_for_releases_too():
    item = Absent(source="s", absent="x = a + b", releases=">=2")
    assert state(item, NEW).state == "found"
    assert state(item, NEW).where == "pkg 2.0 m.py: not there"
    assert state(item, OLD).state == "gone"
    assert state(item, OLD, "1.0").state == "historical"
    assert "still holds" in state(item, NEW, "1.0").message


def test_nothing_is_absent_from_a_definition_or_a_file_that_is_not_there():
    assert state(Absent(source="s", absent="x = 1", inside="f"), OLD).state == "gone"
    assert state(Absent(source="s", absent="x = 1", file="n.py"), OLD).message == "there is no such file"
    assert state(Absent(source="s", absent="x = 1", file="n.py", releases=">=2"), OLD, "1.0").state == "historical"


def test_a_definition_or_a_file_that_is_not_there_is_named():
    assert state(find(inside="A.f"), OLD).message == "no definition of A.f"
    result = state(find(file="n.py"), OLD)
    assert (result.state, result.where, result.message) == ("gone", "pkg 2.0 n.py", "there is no such file")


# --- installed --------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that cannot be imported, as pip would leave it."""
    site = tmp_path / "site"
    (site / "fakepkg" / "models").mkdir(parents=True)
    (site / "fakepkg" / "__init__.py").write_text("raise AssertionError('imported')\n")
    (site / "fakepkg" / "models" / "m.py").write_text("raise AssertionError('imported')\nx = a + b  # é\n", "utf-8")
    (site / "fakepkg-1.5.dist-info").mkdir()
    (site / "fakepkg-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fakepkg\nVersion: 1.5\n")
    monkeypatch.syspath_prepend(site)
    return site


def claimed(item, **source):
    claim = Claim.model_construct(evidence=[item])
    return evidence.search(claim, "own.py", "x = a + b\n", {"s": SOURCE.model_copy(update=source)})[0]


def test_the_installed_release_is_read_and_not_imported(installed):
    result = claimed(find(), package="fakepkg", file="models/m.py")
    assert (result.state, result.where) == ("found", "fakepkg 1.5 models/m.py:2")
    assert "fakepkg" not in sys.modules
    assert str(installed) not in result.model_dump_json()


def test_a_folder_of_that_name_does_not_stand_in_for_the_release(installed, tmp_path, monkeypatch):
    (tmp_path / "here" / "fakepkg" / "models").mkdir(parents=True)
    (tmp_path / "here" / "fakepkg" / "models" / "m.py").write_text("x = 0\n")
    monkeypatch.syspath_prepend(tmp_path / "here")
    assert packages.installed("fakepkg").read("models/m.py").startswith("raise")


def test_an_editable_installation_is_read_where_it_is(installed, tmp_path, monkeypatch):
    (installed / "fakepkg").rename(tmp_path / "fakepkg")
    monkeypatch.syspath_prepend(tmp_path)
    assert claimed(find(), package="fakepkg", file="models/m.py").state == "found"
    assert "fakepkg" not in sys.modules


def test_a_package_that_is_not_installed_is_gone_and_says_what_to_install():
    result = claimed(find(), package="no_such_package")
    assert (result.state, result.where) == ("gone", "no_such_package")
    assert result.message == "no_such_package is not installed. Install it with: pip install no_such_package"


def test_the_subject_is_looked_into_as_before():
    item = find().model_copy(update={"source": "subject"})
    assert claimed(item).where == "own.py:1"


def test_looking_for_the_claims_evidence_imports_no_package():
    program = (
        "import sys; from pathlib import Path; from harness import evidence; from harness.loading import load\n"
        "loaded = load([Path('claims')])\n"
        "found = [r for item in loaded.claims for r in evidence.search(item.claim, 'x', 'pass', loaded.sources)]\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print(*{r.where.split()[0] for r in found if r.source == 'hf-gpt2' and r.state in ('found', 'historical')})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    modules, where = done.stdout.splitlines()
    assert not {"torch", "transformers", "numpy"} & set(modules.split())
    assert "transformers" in where.split()


def test_the_claims_evidence_is_where_it_is_declared_to_be():
    loaded = load([ROOT / "claims"])
    own = (ROOT / "microgpt" / "microgpt.py").read_text(encoding="utf-8")
    found = [
        result for item in loaded.claims for result in evidence.search(item.claim, "own", own, loaded.sources)
    ]  # fmt: skip
    assert [result for result in found if result.state in ("gone", "ambiguous")] == []
    assert [result.message for result in found if result.state == "found" and result.message] == []


# --- what is refused --------------------------------------------------------------------------------------------------

CLAIM = """\
id: a
about: gpt2
title: T
claim: some words
words: [{text: some words, by: [one]}]
evidence:
  - source: code
    find: f($X)
    inside: A.f
    releases: "<2"
    replaced_by:
      find: g($X)
      releases: ">=3"
  - {source: paper, locator: p. 1}
checks:
  - {id: one, observe: rms_norm, of: microgpt, equals: torch, counterexamples: [layer-norm]}
"""
SOURCES = """\
paper: {title: t, authors: a, year: 2020, identifier: i, link: "https://x"}
code: {title: t, authors: a, year: 2020, identifier: i, link: "https://x", package: pkg, file: m.py}
"""


def problems(folder, claim=CLAIM, sources=SOURCES):
    (folder / "a.yaml").write_text(claim, encoding="utf-8")
    (folder / "sources.yaml").write_text(sources, encoding="utf-8")
    try:
        load([folder])
    except Problems as found:
        return [(Path(problem.file).name, problem.line, problem.message) for problem in found.problems]
    return []


def test_evidence_of_every_kind_is_read(tmp_path):
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("find: f($X)", "find: f($X", 8, "the pattern 'f($X' is not one statement or expression. Write one that is"),
        ("find: g($X)", "find: [g($X), '# g']", 12, "the pattern '# g' is not one statement or expression"),
        ("find: f($X)", "find: []", 8, "'find'"),
        ('releases: "<2"', 'releases: "before 2"', 10, "'before 2' names no releases. Write such as"),
        ('releases: ">=3"', "releases: '3'", 13, "'3' names no releases"),
        ('    releases: "<2"\n', "", 10, "'replaced_by' goes with releases. Add"),
        ("inside: A.f", "inside: A.f()", 9, "'inside'"),
        ("      find: g($X)", "      fnd: g($X)", 12, "unknown key 'fnd'. Did you mean 'find'?"),
        ("source: code", "source: paper", 7, "no code can be looked for in 'paper'. Code is looked for in 'subject', "),
        ("source: code", "source: cod", 7, "no code can be looked for in 'cod'"),
        ("inside: A.f", "file: m.txt", 9, "'file'"),
        ("inside: A.f", "file: ../m.py", 9, "'file'"),
        ("inside: A.f", "file: /m.py", 9, "'file'"),
    ],
)
def test_what_is_odd_is_refused_in_its_line(tmp_path, old, new, line, what):
    assert CLAIM.count(old) == 1
    found = problems(tmp_path, CLAIM.replace(old, new))
    assert any(each[:2] == ("a.yaml", line) and what in each[2] for each in found), found


def test_what_goes_with_a_package_is_refused_of_the_subject(tmp_path):
    found = problems(tmp_path, CLAIM.replace("source: code", "source: subject"))
    assert {message for _, _, message in found} >= {
        "'releases' goes with a source that names a package. Remove it.",
        "'replaced_by' goes with a source that names a package. Remove it.",
    }


def test_a_source_without_a_file_needs_one_in_the_evidence(tmp_path):
    sources = SOURCES.replace(", file: m.py", "")
    ((_, line, message),) = problems(tmp_path, sources=sources)
    assert (line, message) == (7, "neither this nor the source 'code' names a file. Add file: FOLDER/FILE.py")
    assert problems(tmp_path, CLAIM.replace("inside: A.f", "file: n/m.py"), sources) == []

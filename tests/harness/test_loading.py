"""Claim files: everything that is odd in them is refused before anything runs, in its line, with what mends it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_positioned import attempt, complete, damaged, defect

from harness.loading import Claims, load
from harness.positioned import Problems

ROOT = Path(__file__).resolve().parents[2]
REAL = sorted(file for file in (ROOT / "claims").glob("*.yaml") if file.name != "sources.yaml")
SOURCES = """\
# The bibliography.
kingma-2014:
  title: Adam
  authors: Kingma and Ba
  year: 2014
  identifier: arXiv:1412.6980v9
  link: https://arxiv.org/abs/1412.6980v9
zhang-2019: {title: RMSNorm, authors: Zhang, year: 2019, identifier: x, link: https://arxiv.org/abs/1910.07467}
"""
CLAIM = """\
id: a
section: 1
about: microgpt
title: T
claim: some words of a claim
words:
  - text: some words
    by: [one]
evidence:
  - source: subject
    find: f($X)
    inside: g
  - source: zhang-2019
    locator: eq. 4
  - {source: kingma-2014, locator: x}
checks:
  - id: one
    observe: rms_norm
    of: microgpt
    given:
      probe: offset
    equals: torch
    counterexamples:
      - layer-norm
"""
CHECK = CLAIM[CLAIM.index("  - id: one") :]
RELATION = "    equals: torch\n"
LIMIT = ("at_most: 1", "because: x")
BOUND = ("equals: paper", "within:", "  relative: 1.0e-3", "  because: x")
BY = "by: {at_least: 0.1, because: x}"
ITSELF = ("equals:", "  itself:", "    given:", "      times: 2.0")


def giving(*lines):
    """An edit: something else is given."""
    return "      probe: offset\n", "".join(f"      {line}\n" for line in lines)


def related(*lines):
    """An edit: another relation."""
    return RELATION, "".join(f"    {line}\n" for line in lines)


ALONE = ("    counterexamples:\n      - layer-norm\n", "")
LOGITS = ("rms_norm", "logits")
START = [("rms_norm", "optimizer_start"), giving("probe: stress")]
SYMBOLS = ("of: microgpt", "of: microgpt\n    in: symbols")


def edited(*edits):
    text = CLAIM
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def written(folder, *claims, sources=SOURCES):
    folder.mkdir(exist_ok=True)
    (folder / "sources.yaml").write_text(sources, encoding="utf-8")
    for number, text in enumerate(claims):
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    return folder


def problems_of(*paths):
    with pytest.raises(Problems) as refusal:
        load(paths)
    assert all(map(complete, refusal.value.problems)), str(refusal.value)
    return refusal.value.problems


def refused(tmp_path, text):
    """The line and the message of each problem of one claim file."""
    found = problems_of(written(tmp_path, text))
    assert {problem.file for problem in found} == {str(tmp_path / "0.yaml")}
    return [(problem.line, problem.message) for problem in found]


def line_of(text, start):
    """The last line that begins so, from one."""
    return max(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name)
def test_every_claim_of_the_repository_loads_alone(file):
    (item,) = load([file]).claims
    assert item.file == str(file)
    assert item.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [check.id for check in item.claim.checks] == list(item.lines)
    assert all(lines[line - 1].strip() == f"- id: {check}" for check, line in item.lines.items())


def test_the_repository_loads_in_order_of_sections():
    loaded = load([ROOT / "claims"])
    assert len(loaded.claims) == len(REAL)
    sections = [item.claim.section or 1000 for item in loaded.claims]
    assert sections == sorted(sections)
    assert {cite.source for item in loaded.claims for cite in item.claim.evidence} <= {"subject", *loaded.sources}


def test_sections_come_first_in_order_then_other_claims_by_id(tmp_path):
    named = [("b", 10), ("z", 2), ("d", None), ("c", None), ("a", 9)]
    texts = [edited(("id: a", f"id: {i}"), ("section: 1\n", f"section: {n}\n" if n else "")) for i, n in named]
    loaded = load([written(tmp_path, *texts)])
    assert [item.claim.id for item in loaded.claims] == ["z", "a", "b", "c", "d"]


def test_a_folder_is_read_with_those_inside_it_and_no_file_twice(tmp_path):
    written(tmp_path, CLAIM)
    inner = written(tmp_path / "more", edited(("id: a", "id: b"), ("section: 1\n", "")), sources=SOURCES)
    (inner / "notes.txt").write_text("id: [", encoding="utf-8")
    (inner / "0.yaml").rename(inner / "0.yml")
    assert [item.claim.id for item in load([tmp_path, tmp_path / "0.yaml"]).claims] == ["a", "b"]


def test_a_source_that_no_claim_of_a_whole_folder_cites_is_refused_in_its_line(tmp_path):
    folder = written(tmp_path, CLAIM, sources=SOURCES + SOURCES.splitlines()[-1].replace("zhang-2019", "old-1999"))
    (problem,) = problems_of(folder)
    assert (problem.file, problem.line) == (str(tmp_path / "sources.yaml"), 9)
    assert problem.message.startswith("no claim cites the source 'old-1999'. Remove it, or")
    assert load([folder / "0.yaml"]).claims, "claims that are not loaded may cite it"
    written(
        tmp_path,
        edited(("    by: [one]", "    by: [one]\n    cites: old-1999")),
        sources=(folder / "sources.yaml").read_text(),
    )
    assert load([folder]).claims


def test_an_empty_folder_has_no_claims_and_no_problem(tmp_path):
    assert load([tmp_path]) == Claims([], {}) == load([])


def test_loading_needs_none_of_the_large_packages(tmp_path):
    program = (
        "import sys; from pathlib import Path; from harness.loading import load; load([Path(sys.argv[1])]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", program, str(written(tmp_path, CLAIM))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "pydantic" in done.stdout.split()
    assert not {"torch", "transformers", "numpy", "sympy", "mpmath"} & set(done.stdout.split())


# --- what is refused --------------------------------------------------------------------------------------------------

TAG = "a step of pydantic's path is taken for a key, so that the place is that of another key"
LEAK = "the name of an alternative of the model stands where the key should"
NONE = "RuntimeError: generator raised StopIteration"
ODD = {
    # a key of another name: the edits, how the line begins, and what is said
    "in a check": ([("    of: microgpt", "    of: microgpt\n    att: y")], "att:", "unknown key 'att'", "mean 'at'?"),
    "in a check, a word": ([("of: microgpt", "of: microgpt\n    inn: digits")], "inn:", "'inn'", "mean 'in'?"),
    "in evidence": ([("    locator: eq. 4", "    locator: x\n    qoute: x")], "qoute:", "'qoute'", "mean 'quote'?"),
    "in words": ([("    by: [one]", "    by: [one]\n    cite: x")], "cite:", "'cite'", "mean 'cites'?"),
    "in given": ([giving("seeds: 2", "widht: 4")], "widht:", "unknown key 'widht'", "mean 'width'?"),
    "of another given": ([giving("n_head: 2")], "n_head:", "unknown key 'n_head'", "scales, seeds, shift"),
    "in paper": ([related("equals:", "  paper:", "    eps_undr_root: 1.0")], "eps_undr", "mean 'eps_under_root'?"),
    "in torch": ([related("equals:", "  torch:", "    atention: sdpa")], "atention:", "mean 'attention'?"),
    "in itself": ([related("equals:", "  itself:", "    givn: {}")], "givn:", "mean 'given'?"),
    "in its given": ([related(*ITSELF[:3], "      tmes: 2.0")], "tmes:", "unknown key 'tmes'", "mean 'times'?"),
    # a value that is not known
    "observable": ([("observe: rms_norm", "observe: rms_nrm")], "observe:", "'rms_nrm'", "mean 'rms_norm'?"),
    "subject": ([("of: microgpt", "of: micrgpt")], "of:", "'micrgpt'", "mean 'microgpt'?"),
    "reading": ([("of: microgpt", "of: microgpt\n    in: symbls")], "in:", "'symbls' for 'in'", "mean 'symbols'?"),
    "counterexample": ([("- layer-norm", "- layer-nrm")], "- layer-nrm", "'layer-nrm'", "mean 'layer-norm'?"),
    "right side": ([related("equals: toch")], "equals:", "'toch'", "mean 'torch'?"),
    "right side with options": ([related("equals: {toch: {}}")], "equals:", "'toch'", "mean 'torch'?"),
    "no right side": ([related("equals: {}")], "equals:", "'equals' cannot be ''. It is one of: "),
    "cited source": ([("source: zhang-2019", "source: zhang-2091")], "- source: zhang", "mean 'zhang-2019'?"),
    "source of code": ([("source: subject", "source: subjct")], "- source: subj", "'subjct'", "'subject'."),
    "source of words": ([("    by: [one]", "    cites: zang-2019")], "cites:", "'zang-2019'", "mean 'zhang-2019'?"),
    "check of words": ([("by: [one]", "by: [oen]")], "by:", "no check 'oen'", "mean 'one'?"),
    "array": ([related("equals: torch", "at: x")], "at:", "has no array 'x'", "one of: y."),
    # a type
    "section of words": ([("section: 1", "section: one")], "section:", "'section' takes a whole number, not 'one'"),
    "section of truth": ([("section: 1", "section: true")], "section:", "takes a whole number, not True"),
    "id of two words": ([("id: a", "id: A b")], "id: A", "'id'", "not 'A b'"),
    "text as evidence": ([("  - source: zhang-2019\n    locator: eq. 4", "  - eq. 4")], "- eq", "mapping, not 'eq. 4'"),
    "text as check": ([(CHECK, "  - one\n")], "- one", "takes a mapping, not 'one'"),
    "no checks": ([("checks:\n" + CHECK, "checks: []\n")], "checks:", "at least 1 item"),
    "number too large": ([giving(f"shift: 1{'0' * 400}")], "shift:", "'shift' takes a number"),
    # relations and bounds
    "two relations": ([related("equals: torch", *LIMIT)], "at_most:", "names equals and at_most", "Give one of"),
    "within, differs": ([related("differs: torch", "within: exactly", BY)], "within:", "'within' goes with equals."),
    "by, equals": ([related("equals: torch", BY)], "by: {", "'by' goes with differs."),
    "differs without by": ([related("differs: torch")], "differs:", "differs needs 'by'", "by how much"),
    "by, no reason": ([related("differs: torch", BY.replace(", because: x", ""))], "by: {", "'because' is missing."),
    "at_most, no reason": ([related("at_most: 1")], "at_most:", "at_most needs 'because'. Say why"),
    "at_least, no reason": ([related("at_least: 1")], "at_least:", "at_least needs 'because'."),
    "bound, no reason": ([related("equals: torch", "within: {relative: 0.1}")], "within:", "'because' is missing."),
    "literal without at": ([related("equals: {value: 0}")], "equals:", "needs 'at'", "Add at: NAME"),
    "torch in symbols": ([SYMBOLS], "equals:", "compared with paper. Write equals: paper"),
    "itself in symbols": ([SYMBOLS, related(*ITSELF)], "equals:", "only float64", "Remove 'in'."),
    "seeds of a proof": ([SYMBOLS, related("equals: paper"), giving("seeds: 2")], "seeds:", "a proof needs no seeds"),
    "reading of another": ([LOGITS, giving("length: 2"), SYMBOLS, related("equals: paper")], "in:", "It is read in: "),
    "reference of another": (START, "equals:", "PyTorch cannot be asked for 'optimizer_start'."),
    # counterexamples
    "itself without": ([related(*ITSELF), ALONE], "- id: one", "names no counterexample"),
    "a literal without": ([related("at: y", "equals: {value: 0}"), ALONE], "- id: one", "it can fail. Add"),
    "a limit without": ([related(*LIMIT), ALONE], "- id: one", "names no counterexample", "Add counterexamples"),
    "a recipe, traced": (
        [SYMBOLS, related("equals: paper"), ("layer-norm", "rms-eps-maximum")],
        "- rms-eps-maximum",
        "'rms-eps-maximum' cannot be made where 'rms_norm' of 'microgpt' in 'symbols' is observed. Use one that is",
    ),
    "a recipe that torch cannot show": (
        [*START, related("equals: paper"), ("layer-norm", "adam-sgd")],
        "- adam-sgd",
        "cannot be made where 'optimizer_start' of 'microgpt' in 'float64' is observed. Use one that is a patch of it",
    ),
    "a patch of another subject": ([("layer-norm", "gpt2-no-final-norm")], "- gpt2-no-final-norm", "cannot be made"),
    "one twice": ([("- layer-norm", "- rms-no-eps\n      - rms-no-eps")], "- rms-no-eps", "named twice. Remove one."),
    # words, evidence, sizes
    "other words": ([("text: some words", "text: other words")], "- text:", "does not occur in the claim"),
    "two checks of one id": ([(CHECK, CHECK + CHECK)], "- id: one", "'one' is used twice. Rename one."),
    "half a pattern": ([("find: f($X)", "find: f($X")], "find:", "'f($X' is not one statement or expression"),
    "a comment": ([("find: f($X)", "find: '# f'")], "find:", "'# f' is not one statement or expression"),
    "two statements": ([("find: f($X)", "find: a; b")], "find:", "'a; b' is not one", "Write one that is whole"),
    "heads": ([LOGITS, giving("n_head: 3")], "given:", "3 heads do not divide", "of 16"),
    "length": ([LOGITS, giving("length: 17")], "given:", "length 17 does not fit", "at most 16"),
    "sizes of itself": ([LOGITS, giving("length: 2"), related(*ITSELF[:3], "      length: 17")], "given:", "length 17"),
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_thing_is_refused_once_in_its_line_with_what_mends_it(tmp_path, name):
    edits, start, *words = ODD[name]
    text = edited(*edits)
    ((line, message),) = refused(tmp_path, text)
    assert all(part in message for part in words), message
    assert line == line_of(text, start)


@pytest.mark.parametrize(
    ("key", "wrong", "owner"),
    [
        ("title", "titel", "id: a"),
        ("section", "secton", None),
        ("observe", "obsreve", "- id: one"),
        ("locator", "locater", "- source: zhang-2019"),
        ("title", None, "id: a"),
        ("about", None, "id: a"),
        ("of", None, "- id: one"),
    ],
)
def test_a_misspelt_key_is_refused_in_its_line_and_a_needed_one_missed_by_its_owner(tmp_path, key, wrong, owner):
    (line,) = (line for line in CLAIM.splitlines(keepends=True) if line.strip(" -").startswith(f"{key}:"))
    text = edited((line, line.replace(key, wrong) if wrong else ""))
    expected = [(line_of(text, owner), f"the key {key!r} is missing. Add it.")] if owner else []
    if wrong:
        expected.append((line_of(text, wrong), f"unknown key {wrong!r}. Did you mean {key!r}?"))
    assert refused(tmp_path, text) == sorted(expected)


def test_the_place_has_a_column_too(tmp_path):
    (problem,) = problems_of(written(tmp_path, edited(("probe: offset", "probe: ofset"))))
    assert str(problem).startswith(f"{tmp_path / '0.yaml'}:21:7: unknown value 'ofset'")


@pytest.mark.parametrize(
    ("edits", "start", "what"),
    [
        defect([related()], "- id: one", "names no relation", reason=NONE),
        ([("inside:", "insde:")], "insde:", "'insde'"),
        defect([related(*BOUND[:3], "  becuase: x")], "becuase:", "'becuase'", reason=TAG),
        ([("find: f($X)", "absent: f($X")], "absent:", "'f($X'"),
        defect([related("equals: torch", "within: roundng")], "within:", "for 'within'", reason=LEAK),
        defect([related("equals: toch")], "equals:", "for 'equals'", reason=LEAK),
        defect([giving("width: x")], "width:", "'width'", reason=LEAK),
        defect([giving("width: []")], "width:", "'width'", reason=LEAK),
        defect([giving("widht: 4"), related(*ITSELF)], "widht:", "'widht'", reason="it is found odd twice"),
    ],
)
def test_problems_stand_where_and_as_they_should(tmp_path, edits, start, what):
    text = edited(*edits)
    found = refused(tmp_path, text)
    assert {line for line, _ in found} == {line_of(text, start)}
    assert any(what in message for _, message in found)


@pytest.mark.parametrize(
    "edits",
    [
        defect([related("at_most: .nan", "because: x")], reason="no number is at most that"),
        defect([related("at_most: .inf", "because: x")], reason="every number is at most that"),
        defect([related(*BOUND[:2], "  absolute: .inf", "  because: x")], reason="every number is within that"),
        defect([giving("shift: .nan")], reason="an input that is not a number"),
        defect([giving("width: [4, 4]")], reason="two cases of one name"),
        defect([related("equals: {value: {z: 0}}")], reason="an array that there is not"),
        defect([SYMBOLS, related(*LIMIT)], reason="an expression is no number: the claim is refuted"),
        defect([SYMBOLS, related("differs: paper", BY)], reason="a difference is no number: the claim is refuted"),
        defect([SYMBOLS, related(*BOUND)], reason="a bound that a proof does not look at"),
        defect([related("equals: torch", "because: x")], reason="a reason for nothing"),
    ],
)
def test_a_check_that_cannot_mean_what_it_says_is_refused(tmp_path, edits):
    assert refused(tmp_path, edited(*edits))


# --- folders ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_in_a_folder_is_told_at_once_and_in_order(tmp_path):
    one = edited(("title:", "titel:"), ("rms_norm", "rms_nrm"))  # senses are looked at where shapes are right
    two = edited(("id: a", "id: b"), ("section: 1\n", ""))
    three = edited(("section: 1", "section: 3"), ("- layer-norm", "- layer-nrm"), ("by: [one]", "by: [oen]"))
    found = problems_of(tmp_path / "none", written(tmp_path, one, two, three, "a: ["))
    assert found == sorted(set(found))
    assert found[-1].message == "no such file or folder. Give a claim file or a folder of them."
    assert [Path(problem.file).name for problem in found] == ["0.yaml", "0.yaml", "2.yaml", "2.yaml", "3.yaml", "none"]


@pytest.mark.xfail(strict=True, reason="whoever cites is told: unknown source, it is one of: nothing")
def test_a_bibliography_that_cannot_be_read_is_one_problem(tmp_path):
    (problem,) = problems_of(written(tmp_path, CLAIM, sources=SOURCES + "x: ["))
    assert problem.file == str(tmp_path / "sources.yaml")


@pytest.mark.parametrize(("edit", "what"), [(("section: 1\n", ""), "the id 'a'"), (("id: a", "id: b"), "this section")])
def test_an_id_or_a_section_that_two_files_have_is_refused_in_the_second(tmp_path, edit, what):
    (problem,) = problems_of(written(tmp_path, CLAIM, edited(edit)))
    assert problem.file == str(tmp_path / "1.yaml")
    assert problem.message == f"{what} is taken by {tmp_path / '0.yaml'}. Choose another."


@pytest.mark.xfail(strict=True, reason="what two files share is reported in line 1, wherever it stands")
def test_a_section_that_two_files_have_is_refused_in_its_line(tmp_path):
    (problem,) = problems_of(written(tmp_path, CLAIM, edited(("id: a", "id: b"))))
    assert problem.line == 2


@pytest.mark.xfail(strict=True, raises=Problems, reason="ids and sections are kept in one dictionary of texts")
def test_an_id_of_digits_is_no_section(tmp_path):
    loaded = load([written(tmp_path, CLAIM, edited(("id: a", "id: '1'"), ("section: 1\n", "")))])
    assert [item.claim.id for item in loaded.claims] == ["a", "1"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("  title: Adam", "  titel: Adam", "unknown key 'titel'. Did you mean 'title'?"),
        ("  year: 2014", "  year: MMXIV", "'year' takes a whole number, not 'MMXIV'"),
        ("  year: 2014", "  year: 14", "'year'"),
        ("  link: https://arxiv.org/abs/1412", "  link: http://arxiv.org/abs/1412", "'link'"),
        ("  authors: Kingma and Ba", "  title: x", "'title' stands twice, first in line 3"),
    ],
)
def test_a_bibliography_that_is_odd_is_refused_in_its_line(tmp_path, old, new, what):
    text = SOURCES.replace(old, new)
    found = problems_of(written(tmp_path, CLAIM, sources=text))
    (line,) = (p.line for p in found if what in p.message and p.file == str(tmp_path / "sources.yaml"))
    assert line == line_of(text, new.strip())


@pytest.mark.parametrize("text", ["- a\n- b\n", "words\n", "~\n", "5\n", "{}\n", "", "id: &a a\n"])
def test_a_file_that_is_no_claim_at_all_is_refused(tmp_path, text):
    assert refused(tmp_path, text)


# --- anything at all --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.xfail(strict=True, reason="a check without a relation ends in RuntimeError")
@settings(max_examples=250, deadline=None, derandomize=True)
@given(content=damaged(), name=st.sampled_from(["claim.yaml", "claim.yaml", "sources.yaml"]))
def test_any_damaged_folder_is_loaded_or_refused_in_sentences(folder, content, name):
    files = {"claim.yaml": REAL[-1].read_bytes(), "sources.yaml": SOURCES.encode(), name: content}
    for file, text in files.items():
        (folder / file).write_bytes(text)
    loaded, problems = attempt(load, [folder])
    assert all(map(complete, problems)), problems
    assert isinstance(loaded, Claims) != bool(problems)
    assert {Path(problem.file).parent for problem in problems} <= {folder}

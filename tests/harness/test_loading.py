"""Claim files: everything that is odd in them is refused before anything runs, in its line, with what mends it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_positioned import attempt, complete, damaged

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


# --- folders ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_in_a_folder_is_told_at_once_and_in_order(tmp_path):
    one = edited(("title:", "titel:"), ("rms_norm", "rms_nrm"))  # senses are looked at where shapes are right
    two = edited(("id: a", "id: b"), ("section: 1\n", ""))
    three = edited(("section: 1", "section: 3"), ("- layer-norm", "- layer-nrm"), ("by: [one]", "by: [oen]"))
    found = problems_of(tmp_path / "none", written(tmp_path, one, two, three, "a: ["))
    assert found == sorted(set(found))
    assert found[-1].message == "no such file or folder. Give a claim file or a folder of them."
    assert [Path(problem.file).name for problem in found] == ["0.yaml", "0.yaml", "2.yaml", "2.yaml", "3.yaml", "none"]


@pytest.mark.parametrize("odd", ["x: ]", "old-1999: {title: x}"])
def test_a_bibliography_that_cannot_be_read_is_no_problem_of_those_who_cite(tmp_path, odd):
    words = ("    by: [one]", "    by: [one]\n    cites: zhang-2019")
    found = problems_of(written(tmp_path, edited(words), sources=f"{SOURCES}{odd}"))
    assert {(problem.file, problem.line) for problem in found} == {(str(tmp_path / "sources.yaml"), 9)}


def test_the_nearer_of_two_bibliographies_wins(tmp_path):
    written(tmp_path, sources=SOURCES.replace("title: Adam", "title: Another"))
    inner = written(tmp_path / "more", CLAIM)
    assert load([inner]).sources["kingma-2014"].title == "Adam"
    (inner / "sources.yaml").unlink()
    assert load([inner]).sources["kingma-2014"].title == "Another"


def test_two_bibliographies_that_name_different_sources_alike_are_refused(tmp_path):
    written(tmp_path, CLAIM, sources=SOURCES.replace("title: Adam", "title: Another"))
    written(tmp_path / "more", edited(("id: a", "id: b"), ("section: 1\n", "")))
    (problem,) = problems_of(tmp_path)
    assert (problem.file, problem.line) == (str(tmp_path / "more" / "sources.yaml"), 2)
    assert problem.message.startswith(f"the source 'kingma-2014' is another one in {tmp_path / 'sources.yaml'}.")


@pytest.mark.parametrize(
    ("edit", "line", "what"), [(("section: 1\n", ""), 2, "the id 'a'"), (("id: a", "id: b"), 3, "the section 1")]
)
def test_an_id_or_a_section_that_two_files_have_is_refused_in_the_second(tmp_path, edit, line, what):
    first, second = (f"# A claim.\n{text}" for text in (CLAIM, edited(edit)))
    (problem,) = problems_of(written(tmp_path, first, second))
    assert (problem.file, problem.line) == (str(tmp_path / "1.yaml"), line)
    assert problem.message == f"{what} is taken by {tmp_path / '0.yaml'}. Choose another."


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


@settings(max_examples=200, deadline=None, derandomize=True)
@given(content=damaged(), name=st.sampled_from(["claim.yaml", "claim.yaml", "sources.yaml"]))
def test_any_damaged_folder_is_loaded_or_refused_in_sentences(folder, content, name):
    files = {"claim.yaml": REAL[-1].read_bytes(), "sources.yaml": SOURCES.encode(), name: content}
    for file, text in files.items():
        (folder / file).write_bytes(text)
    loaded, problems = attempt(load, [folder])
    assert all(map(complete, problems)), problems
    assert isinstance(loaded, Claims) != bool(problems)
    assert {Path(problem.file).parent for problem in problems} <= {folder}

"""Drift: wheels are fetched and read, changes are bisected, and what claims declare is held against what is found."""

import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.version import Version

from harness import cli, drift, wheels
from harness.loading import load
from harness.wheels import WheelError, Wheels

CLAIM = """\
id: {id}
about: gpt2
title: T
claim: some words
words: [{{text: some words, by: [one]}}]
evidence:
{evidence}
checks:
  - {{id: one, observe: rms_norm, of: microgpt, equals: torch, counterexamples: [layer-norm]}}
"""
SOURCES = """\
code: {title: t, authors: a, year: 2020, identifier: i, link: "https://x", package: fakepkg, file: m.py}
"""
OLD = '  - {source: code, find: x = 1, releases: "<1.5", replaced_by: x = 2}'
RELEASES = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10"]


def make_wheel(folder, version, files, package="fakepkg"):
    folder.mkdir(exist_ok=True)
    with ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(f"{package}/{name}", text)


def release(version):
    """The file of a release: a pattern goes with 1.5, and the file itself comes with 1.1."""
    text = "x = 1\n" if Version(version) < Version("1.5") else "# x = 1\nx = 2\n"
    return {"__init__.py": ""} if version == "1.0" else {"__init__.py": "", "m.py": text}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A stand-in for pip, with releases to fetch from; it writes down what was asked of it."""
    store, asked = tmp_path / "store", []
    for version in RELEASES:
        make_wheel(store, version, release(version))

    def pip(command, *arguments):
        asked.append((command, arguments[-1]))
        if command == "index":
            listed = ", ".join([*reversed(RELEASES), "1.5rc1"])
            return subprocess.CompletedProcess([], 0, f"fakepkg (1.10)\nAvailable versions: {listed}\n", "")
        _, _, version = arguments[-1].partition("==")
        file = store / f"fakepkg-{version}-py3-none-any.whl"
        if not file.exists():
            error = f"ERROR: Could not find a version (from versions: {', '.join(RELEASES)})\n"
            return subprocess.CompletedProcess([], 1, "", error)
        shutil.copy(file, arguments[arguments.index("--dest") + 1])
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(wheels, "pip", pip)
    return asked


def claims_in(folder, *evidence):
    folder = folder / "claims"
    folder.mkdir(exist_ok=True)
    (folder / "sources.yaml").write_text(SOURCES)
    for number, text in enumerate(evidence):
        (folder / f"{number}.yaml").write_text(CLAIM.format(id=f"c{number}", evidence=text))
    return folder


def examined(tmp_path, *evidence, versions="1.2,1.8", bisect=False, said=None):
    rows = drift.rows_of(load([claims_in(tmp_path, *evidence)]), "fakepkg")
    kept = Wheels("fakepkg", tmp_path / "kept")
    progress = (lambda *what: said.append(what)) if said is not None else lambda *_: None
    return drift.examine(rows, kept, wheels.parsed(versions), bisect=bisect, progress=progress)


def changes(found, number):
    row = found.rows[number - 1]
    return [(str(c.before), str(c.after), c.appears) for c in found.changes(row)]


# --- what is found ----------------------------------------------------------------------------------------------------


def test_each_pattern_and_each_replacement_is_looked_for_in_each_release(tmp_path, index):
    found = examined(tmp_path, OLD, versions="1.0,1.2,1.8")
    lines = {(number, str(version)): at for (number, version), at in found.lines.items()}
    assert lines == {
        (1, "1.0"): None,
        (1, "1.2"): [1],
        (1, "1.8"): [],
        (2, "1.0"): None,
        (2, "1.2"): [],
        (2, "1.8"): [2],
    }
    assert [(row.pattern, row.replaces) for row in found.rows] == [("x = 1", None), ("x = 2", 1)]


def test_the_same_evidence_of_two_claims_is_one_row_and_the_subjects_is_none(tmp_path, index):
    own = "  - {source: subject, find: x = 1}\n  - {source: code, locator: p. 1}"
    found = examined(tmp_path, "  - {source: code, find: x = 1}", "  - {source: code, find: x = 1}\n" + own)
    assert [(row.number, row.claim) for row in found.rows] == [(1, "c0")]


def test_without_bisecting_nothing_more_is_fetched(tmp_path, index):
    found = examined(tmp_path, OLD)
    assert index == [("download", "fakepkg==1.2"), ("download", "fakepkg==1.8")]
    assert changes(found, 1) == [("1.2", "1.8", False)]
    assert found.disagreements == []


def test_bisecting_finds_the_two_neighbours_and_fetches_only_what_it_needs(tmp_path, index):
    found = examined(tmp_path, OLD, versions="1.1,1.10", bisect=True)
    assert changes(found, 1) == [("1.4", "1.5", False)]
    assert changes(found, 2) == [("1.4", "1.5", True)]
    fetched = [what for command, what in index if command == "download"]
    assert len(fetched) == len(set(fetched)) <= 2 + 4  # of nine in between
    assert found.disagreements == []


@pytest.mark.parametrize("at", range(2, len(RELEASES)))
def test_bisecting_finds_a_change_wherever_it_is(tmp_path, index, monkeypatch, at):
    for number, version in enumerate(RELEASES):
        make_wheel(tmp_path / "store", version, {"m.py": "x = 1\n" if number < at else ""})
    found = examined(tmp_path, OLD, versions="1.1,1.10", bisect=True)
    assert changes(found, 1) == [(RELEASES[at - 1], RELEASES[at], False)]


def test_bisecting_leaves_prereleases_out_and_takes_wheels_at_hand(tmp_path, index):
    for version in ("1.3", "1.4", "1.5"):
        make_wheel(tmp_path / "kept", version, release(version))
    found = examined(tmp_path, OLD, versions="1.2,1.8", bisect=True)
    assert changes(found, 1) == [("1.4", "1.5", False)]
    assert [what for command, what in index if command == "download"] == ["fakepkg==1.2", "fakepkg==1.8"]


def test_progress_says_what_is_fetched(tmp_path, index):
    said = []
    examined(tmp_path, OLD, versions="1.8,1.2", said=said)
    assert said == [("fakepkg 1.2", 0, 2), ("fakepkg 1.8", 1, 2)]


# --- what is declared -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ("{source: code, find: x = 1}", [("1.8", "gone: 'x = 1' is not there")]),
        ('{source: code, find: x = 1, releases: "<1.4"}', []),
        (
            '{source: code, find: x = 1, releases: "<1.2"}',
            [("1.2", "found: it is declared for releases <1.2 alone, and still holds")],
        ),
        ('{source: code, absent: x = 1, releases: ">=1.5"}', []),
        ("{source: code, absent: x = 1}", [("1.2", "gone: 'x = 1' is there, though it should not be")]),
        ("{source: code, find: x = $N}", []),
        ("{source: code, file: n.py, find: x = $N}", [(v, "gone: there is no such file") for v in ("1.2", "1.8")]),
    ],
)
def test_what_is_declared_otherwise_is_said(tmp_path, index, evidence, expected):
    found = examined(tmp_path, f"  - {evidence}")
    assert [(str(version), message) for _, version, message in found.disagreements] == expected


def test_a_replacement_that_is_missing_between_is_said(tmp_path, index):
    make_wheel(tmp_path / "store", "1.6", {"m.py": "x = 3\n"})
    found = examined(tmp_path, OLD, versions="1.2,1.6,1.8")
    ((row, version, message),) = found.disagreements
    assert (row.number, str(version)) == (1, "1.6")
    assert message.startswith("gone: ")


# --- wheels -----------------------------------------------------------------------------------------------------------


def answering(monkeypatch, code, out="", error=""):
    monkeypatch.setattr(wheels, "pip", lambda *_: subprocess.CompletedProcess([], code, out, error))


@pytest.mark.parametrize(
    ("error", "what"),
    [
        ("ERROR: Could not find a version (from versions: 1.8, 1.9)", "there is no wheel of fakepkg 1.99"),
        ("WARNING: Retrying (Retry(total=4)) after connection\nERROR: No matching", "cannot be reached. Check the net"),
        ("ERROR: No matching distribution found for fakepkg", "No matching distribution found for fakepkg. Check the"),
        ("python: No module named pip", "pip is not installed here. Install it with: python -m ensurepip"),
        ("", "pip ended with code 1"),
    ],
)
def test_a_release_that_cannot_be_fetched_is_said_in_a_sentence(tmp_path, monkeypatch, error, what):
    answering(monkeypatch, 1, error=error)
    with pytest.raises(WheelError) as refusal:
        Wheels("fakepkg", tmp_path).release(Version("1.99"))
    assert what in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_a_version_that_does_not_exist_names_one_that_does(tmp_path, monkeypatch):
    answering(monkeypatch, 1, error="ERROR: Could not find a version (from versions: 1.8, 1.9.1)")
    with pytest.raises(WheelError, match=r"Did you mean '1\.9\.1'\?"):
        Wheels("fakepkg", tmp_path).release(Version("1.9"))


def test_what_is_no_wheel_is_said(tmp_path, monkeypatch):
    answering(monkeypatch, 0)
    kept = Wheels("fakepkg", tmp_path)
    with pytest.raises(WheelError, match=r"pip fetched no wheel of fakepkg 1\.0"):
        kept.release(Version("1.0"))
    (tmp_path / "fakepkg-1.0-py3-none-any.whl").write_text("half of a file")
    with pytest.raises(WheelError, match=r"is not a wheel: .* Remove it"):
        kept.release(Version("1.0"))
    make_wheel(tmp_path, "1.1", {}, package="fakepkg")
    with pytest.raises(WheelError, match="has no folder fakepkg"):
        kept.release(Version("1.1"))


def test_a_wheel_is_known_by_its_name_and_version(tmp_path):
    for name in ("fakepkg-1.10-py3-none-any.whl", "fakepkg_more-1.1-py3-none-any.whl", "odd.whl"):
        (tmp_path / name).write_text("")
    kept = Wheels("fakepkg", tmp_path)
    assert kept.has(Version("1.10.0"))
    assert not kept.has(Version("1.1"))


def test_versions_that_pip_does_not_list_are_said(tmp_path, monkeypatch):
    answering(monkeypatch, 1, error="ERROR: No matching distribution found for fakepkg")
    with pytest.raises(WheelError, match="pip lists no versions of fakepkg: No matching"):
        Wheels("fakepkg", tmp_path).versions()


def test_final_versions_are_listed_in_order(tmp_path, index):
    assert [str(version) for version in Wheels("fakepkg", tmp_path).versions()] == RELEASES


def test_pip_is_run_in_a_process_of_its_own():
    assert wheels.pip("--version").stdout.startswith("pip ")


@pytest.mark.parametrize("text", ["", " , ", "1.0,new", "1.0;2.0"])
def test_versions_that_are_none_are_refused(text):
    with pytest.raises(WheelError, match="Write such as"):
        wheels.parsed(text)


# --- the command ------------------------------------------------------------------------------------------------------


def command(tmp_path, *arguments, evidence=OLD):
    folder = claims_in(tmp_path, evidence)
    return cli.main(["drift", str(folder), "--package", "fakepkg", *arguments])


def test_the_command_prints_a_matrix_that_fits(tmp_path, index, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code = command(tmp_path, "--versions", ",".join(RELEASES[1:]), "--bisect", "--wheels", str(tmp_path / "kept"))
    out = capsys.readouterr().out
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    header, first, second = out.splitlines()[:3]
    assert header.split() == RELEASES[1:]
    assert first.split() == ["1", *["1"] * 4, *["–"] * 6]
    assert second.split() == ["2", *["–"] * 4, *["2"] * 6]
    assert "up to 1.4; not in 1.5" in out
    assert "from 1.5; not in 1.4" in out
    assert "agrees with the 10 releases" in out
    assert len(list(Path(tmp_path / "kept").glob("*.whl"))) == 10


def test_many_releases_are_printed_below_each_other(tmp_path, index, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert command(tmp_path, "--versions", ",".join(RELEASES[1:])) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 40 for line in out.splitlines())
    assert [version for version in RELEASES[1:] if version not in out] == []


def test_what_is_declared_otherwise_ends_in_4(tmp_path, index, capsys):
    assert command(tmp_path, "--versions", "1.2,1.8", evidence="  - {source: code, find: x = 1}") == 4
    out = " ".join(capsys.readouterr().out.split())
    assert "declared otherwise 1 c0, 1.8: gone: 'x = 1' is not there" in out
    assert "–!" in out


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--versions", "1.2,1.99"], 2, "there is no wheel of fakepkg 1.99"),
        (["--versions", "newest"], 2, "'newest' is no version"),
        (["--versions", "1.2", "--package", "other"], 5, "no claim looks for code in 'other'"),
        ([], 2, "--versions"),
    ],
)
def test_what_was_asked_wrongly_is_one_message(tmp_path, index, capsys, arguments, code, what):
    assert command(tmp_path, *arguments) == code
    error = capsys.readouterr().err
    assert what in error
    assert "Traceback" not in error

"""The real command line: exit codes, files, and what is printed. Wrong subjects, wrong files, wrong folders."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from harness import loading, run
from harness.render import console as console_format
from harness.results import Report
from harness.subjects.process import Limits

ROOT = Path(__file__).resolve().parent.parent
OWN = (ROOT / "microgpt" / "microgpt.py").read_text(encoding="utf-8")


def harness(*arguments: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def edited(tmp_path: Path, *edits: tuple[str, str]) -> Path:
    """A copy of microgpt with edits, each of a text that occurs once."""
    source = OWN
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    file = tmp_path / "subject.py"
    file.write_text(source, encoding="utf-8")
    return file


def verdicts(folder: Path) -> dict[str, str]:
    report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {claim["id"]: claim["verdict"] for claim in report["claims"]}


# Claims about the model as a whole: whatever changes its function concerns them too.
WHOLE = {"components", "limits"}


def test_a_break_concerns_the_claims_about_the_whole_as_well(bare_claims, tmp_path):
    report, _ = report_on(bare_claims, edited(tmp_path, *BREAKS["LayerNorm"][1]), only=frozenset(WHOLE))
    assert {claim.id: claim.verdict for claim in report.claims} == dict.fromkeys(WHOLE, "refuted")


@pytest.fixture(scope="session")
def baseline(own_run) -> dict[str, str]:
    """The verdicts on this repository's microgpt, of the claims that are about microgpt."""
    return {claim["id"]: claim["verdict"] for claim in own_run.report["claims"] if claim["about"] == "microgpt"}


def test_nothing_in_this_repository_is_refuted_unproven_or_broken(own_run):
    assert (own_run.process.returncode, own_run.process.stderr) == (0, "")
    found = {claim["id"]: claim["verdict"] for claim in own_run.report["claims"]}
    assert set(found.values()) == {"verified", "qualified", "cited"}
    assert [claim["section"] for claim in own_run.report["claims"] if claim["section"]] == list(range(1, 13))
    assert [name for name, verdict in found.items() if verdict == "cited"] == ["decoder-causality"]
    assert {"adam", "positions"} == {name for name in found if found[name] == "verified" and _section(own_run, name)}


def _section(own_run, name: str) -> int | None:
    return next(claim["section"] for claim in own_run.report["claims"] if claim["id"] == name)


def test_the_console_fits_80_columns_without_colour_in_a_pipe(own_run):
    lines = own_run.process.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Reports: ")) <= 80
    assert "\x1b" not in own_run.process.stdout
    assert lines[0].startswith("microgpt/microgpt.py  sha256 ")
    assert "reproduces the" in lines[1] + lines[2]


def test_every_check_rejects_every_mistake_and_every_wrong_answer(own_run):
    tried = [
        (check["id"], wrong["name"], wrong["outcome"])
        for claim in own_run.report["claims"]
        for check in claim["checks"]
        for wrong in check["counterexamples"] + check["controls"]
    ]
    assert [row for row in tried if row[2] != "rejected"] == []
    assert len({name for _, name, _ in tried}) >= 80


def test_every_bound_lies_clear_of_noise_and_of_the_subtlest_mistake(own_run):
    bounded = [
        check
        for claim in own_run.report["claims"]
        for check in claim["checks"]
        if check["bound"] in ("rounding", "relative", "absolute")
    ]
    assert len(bounded) >= 15
    for check in bounded:
        assert check["observed"] * 10 <= check["allowed"] or check["bound"] == "relative", check["id"]
        assert check["noise"] is None or check["noise"] * 10 <= check["allowed"], check["id"]
        for mistake in check["counterexamples"]:
            assert mistake["observed"] == "inf" or mistake["observed"] >= 10 * check["allowed"], mistake


def test_every_clause_is_covered_and_what_no_clause_holds_is_named(own_run):
    for claim in own_run.report["claims"]:
        assert all(clause["covered"] for clause in claim["words"])
        assert sum(len(text.split()) for text in claim["uncovered"]) <= 3, claim["uncovered"]


def test_what_can_be_proved_is_proved(own_run):
    evidence = {f"{c['id']}/{k['id']}": k["evidence"] for c in own_run.report["claims"] for k in c["checks"]}
    assert evidence["adam/one-update-for-every-state"] == "proved"
    assert evidence["adam/first-step"] == "proved"
    assert evidence["rmsnorm/for-every-input"] == "proved"
    assert evidence["kv-cache/depends-on-nothing-later"] == "exact"
    assert evidence["rmsnorm/in-digits"] == "50 digits"


def test_two_runs_give_the_same_results_apart_from_times(own_run, tmp_path):
    harness("run", "claims/", "--out", tmp_path, PYTHONHASHSEED="1", TZ="Asia/Tokyo", LC_ALL="C")
    again = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    first = json.loads(json.dumps(own_run.report))
    for report in (first, again):
        del report["run"]["started"], report["run"]["seconds"]
    assert first == again


MEAN_SQUARE = "mean_square = sum(xi * xi for xi in x) / len(x)"
NORMED = "return [xi * scale for xi in x]"
KEYS = 'keys[layer].append(linear(x, state_dict[f"layer{layer}.attn_wk"]))'
VALUES = 'values[layer].append(linear(x, state_dict[f"layer{layer}.attn_wv"]))'
MIX = "        x = linear(heads, "
FRESH = "    keys, values = empty_cache(config)\n    losses"
CLEAR = "        parameter.grad = 0.0\n"

# What is broken by hand, and the claim that it concerns.
BREAKS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "no bias correction": (
        "adam",
        [("m[i] / (1 - beta1 ** (step + 1))", "m[i]"), ("v[i] / (1 - beta2 ** (step + 1))", "v[i]")],
    ),
    "Adam's eps inside the root": ("adam", [("(v_hat**0.5 + eps)", "(v_hat + eps) ** 0.5")]),
    "betas swapped": (
        "adam",
        [
            ("beta1 * m[i] + (1 - beta1)", "beta2 * m[i] + (1 - beta2)"),
            ("beta2 * v[i] + (1 - beta2)", "beta1 * v[i] + (1 - beta1)"),
        ],
    ),
    "weight decay": ("adam", [(CLEAR, f"        parameter.data *= 0.9999\n{CLEAR}")]),
    "rmsnorm's eps outside the root": ("rmsnorm", [("(mean_square + 1e-5) ** -0.5", "1 / (mean_square**0.5 + 1e-5)")]),
    "LayerNorm": ("rmsnorm", [(MEAN_SQUARE, f"x = [xi - sum(x) / len(x) for xi in x]\n    {MEAN_SQUARE}")]),
    "mean without square": ("rmsnorm", [(MEAN_SQUARE, "mean_square = sum(x) / len(x)")]),
    "a norm of not-a-numbers": ("rmsnorm", [(NORMED, "return [xi * float('nan') for xi in x]")]),
    "appended after attending": (
        "kv-cache",
        [
            (KEYS, "new_key = " + KEYS.removeprefix("keys[layer].append(").removesuffix(")")),
            (VALUES, "new_value = " + VALUES.removeprefix("values[layer].append(").removesuffix(")")),
            (MIX, f"        keys[layer].append(new_key)\n        values[layer].append(new_value)\n{MIX}"),
        ],
    ),
    "cache kept between documents": (
        "kv-cache",
        [
            (FRESH, FRESH.replace("empty_cache(config)", "KEPT.setdefault(0, empty_cache(config))")),
            ("NAMES = ", "KEPT = {}\nNAMES = "),
        ],
    ),
    "scores not scaled": ("kv-cache", [(" / len(q) ** 0.5", "")]),
}


def report_on(claims: loading.Claims, subject: Path, **options: object) -> tuple[Report, str]:
    """The same path as the command's, without a process of its own; the report, and the console's text."""
    report = run.run(claims, run.Options(subject=subject, **options))
    console = Console(width=80, record=True, file=io.StringIO())
    console_format.render(report, console)
    return report, console.export_text()


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_refutes_the_claim_that_it_concerns_and_no_other(name, bare_claims, tmp_path):
    concerned, edits = BREAKS[name]
    only = frozenset(item.claim.id for item in bare_claims.claims) - WHOLE
    report, text = report_on(bare_claims, edited(tmp_path, *edits), only=only)
    found = {claim.id: claim.verdict for claim in report.claims}
    assert {claim for claim, verdict in found.items() if verdict in ("refuted", "broken")} == {concerned}
    assert found[concerned] == "refuted"
    for slot in ("check", "words", "observed", "expected", "off by", "differ", "repeat"):
        assert f"\n  {slot} " in text, slot


def test_the_line_that_repeats_a_failure_repeats_it(tmp_path):
    subject = edited(tmp_path, *BREAKS["LayerNorm"][1])
    harness("run", "claims/", "--subject", subject, "--out", tmp_path, "--only", "rmsnorm")
    report = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    claim = next(claim for claim in report["claims"] if claim["verdict"] == "refuted")
    check = next(check for check in claim["checks"] if check["outcome"] == "fail")
    again = harness(*check["repeat"].split()[3:], "--out", tmp_path / "again")
    assert again.returncode == 1
    repeated = json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8"))
    assert repeated["claims"][0]["checks"] == [check]


# --- subjects that misbehave ------------------------------------------------------------------------------------------

GPT = "    token_embedding, position_embedding ="
HOSTILE = {
    "raises": ("raise RuntimeError('no')", "RuntimeError: no"),
    "exits": ("raise SystemExit(0)", "SystemExit"),
    "leaves": ("import os; os._exit(7)", "exit code 7"),
    "hangs": ("while True: pass", "no answer within"),
    "recurses": (
        "return gpt(state_dict, config, token_id, pos_id, keys, values)",
        "no answer within|MemoryError|RecursionError|SystemError",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_subject_that_misbehaves_costs_its_own_claims_an_error(kind, bare_claims, tmp_path):
    line, message = HOSTILE[kind]
    only = frozenset({"kv-cache/order-matters", "adam/first-step", "rmsnorm/not-centred"})
    subject = edited(tmp_path, (GPT, f"    {line}\n{GPT}"))
    report, text = report_on(bare_claims, subject, only=only, limits=Limits(seconds=1.5, memory=512))
    assert report.exit_code == 3
    verdict = {claim.id: claim.verdict for claim in report.claims}
    assert verdict["kv-cache"] == "broken"
    assert re.search(message, " ".join(text.split()))
    if kind == "raises":
        assert set(verdict.values()) == {"broken", "unproven"}  # unproven: nothing wrong was tried


def test_what_a_subject_prints_stays_out_of_the_protocol(baseline, tmp_path):
    noise = 'print(\'{"id": 1, "arrays": {}}\', flush=True)'
    subject = edited(tmp_path, (GPT, f"    {noise}\n{GPT}"))
    assert harness("run", "claims/", "--subject", subject, "--out", tmp_path, "--only", "kv-cache,adam").returncode == 0
    assert verdicts(tmp_path) == {name: baseline[name] for name in ("kv-cache", "adam")}


def test_claims_about_others_are_not_judged_on_a_given_file(tmp_path):
    subject = edited(tmp_path, ("NAMES = ", "NAMED = NAMES = "))
    result = harness("run", "claims/", "--subject", subject, "--out", tmp_path, "--only", "adam,gelu,causal-mask")
    assert (result.returncode, verdicts(tmp_path)) == (
        0,
        {"causal-mask": "not_about", "gelu": "not_about", "adam": "verified"},
    )
    assert "not about this subject" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def rmsnorm(x:\n", "SyntaxError"),
        ("import numpy\n", "ModuleNotFoundError"),
        ("x = 1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_subject_that_cannot_be_loaded_breaks_every_claim_and_says_where(text, message, tmp_path):
    file = tmp_path / "subject.py"
    file.write_text(text, encoding="utf-8")
    result = harness("run", "claims/10-rmsnorm.yaml", "--subject", file, "--out", tmp_path)
    assert "Traceback" not in result.stdout + result.stderr
    assert message in result.stdout
    assert "subject.py:1" in "".join(result.stdout.split())
    assert result.returncode in (1, 3)
    assert set(verdicts(tmp_path).values()) <= {"broken", "refuted"}


def test_a_subject_without_the_function_is_unproven_not_verified(tmp_path):
    file = tmp_path / "subject.py"
    file.write_text("class Value:\n    def __init__(self, data):\n        self.data = data\n", encoding="utf-8")
    result = harness("run", "claims/10-rmsnorm.yaml", "--subject", file, "--out", tmp_path)
    assert (result.returncode, verdicts(tmp_path)) == (1, {"rmsnorm": "unproven"})
    assert "'rmsnorm'" in result.stdout


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nowhere"], 2, "nowhere:1:1: no such file or folder"),
        (["run", "claims/", "--only", "rmsnrom"], 2, "rmsnrom"),
        (["run", "claims/", "--only", "rmsnorm/definitio"], 2, "definitio"),
        (["run", "claims/", "--subject", "nowhere.py"], 2, "nowhere.py cannot be read"),
        (["run", "claims/", "--subject", "claims"], 2, "is a folder"),
        (["run", "claims/", "--seed", "-1"], 2, "--seed"),
        (["run", "claims/", "--seed", "x"], 2, "--seed"),
        (["run", "claims/", "--out", "/dev/null/reports"], 2, "cannot be written"),
        (["run", "claims/", "--tolerance", "1"], 2, "--tolerance"),
        (["rnu"], 2, "rnu"),
        (["list", "observable"], 2, "Did you mean 'observables'?"),
        (["explain", "adma"], 2, "Did you mean 'adam'?"),
        (["explain", "adam/first-stpe"], 2, "Did you mean 'first-step'?"),
        (["schema", "claims"], 2, "Did you mean 'claim'?"),
        (["new", "Not An Id"], 2, "lower-case"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(arguments, code, message):
    result = harness(*arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_an_empty_folder_is_nothing_to_run(tmp_path):
    for command in ("run", "validate"):
        result = harness(command, tmp_path)
        assert result.returncode == 5
        assert "python -m harness new" in result.stderr


def test_an_invalid_claim_file_stops_everything_and_leaves_the_last_report(tmp_path):
    (tmp_path / "results.json").write_text("the last report", encoding="utf-8")
    text = (ROOT / "claims" / "10-rmsnorm.yaml").read_text(encoding="utf-8")
    (tmp_path / "claim.yaml").write_text(text.replace("observe: rms_norm", "observe: rms_nrom", 1), encoding="utf-8")
    (tmp_path / "sources.yaml").write_text(
        (ROOT / "claims" / "sources.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    result = harness("run", tmp_path / "claim.yaml", "--out", tmp_path)
    assert result.returncode == 2
    line = text[: text.index("observe: rms_norm")].count("\n") + 1
    assert f"claim.yaml:{line}:5: unknown observable 'rms_nrom'. Did you mean 'rms_norm'?" in result.stderr
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == "the last report"


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_anything_runs(tmp_path):
    tmp_path.chmod(0o500)
    result = harness("run", "claims/", "--out", tmp_path)
    assert (result.returncode, "cannot be written" in result.stderr) == (2, True)


def test_a_new_claim_is_valid_and_verified_as_it_stands(tmp_path):
    assert harness("new", "my-claim", "--folder", tmp_path).returncode == 0
    assert harness("validate", tmp_path).stdout == "1 claims, 1 checks: valid\n"
    result = harness("run", tmp_path, "--out", tmp_path)
    assert (result.returncode, verdicts(tmp_path)) == (0, {"my-claim": "verified"})
    again = harness("new", "my-claim", "--folder", tmp_path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        *(["list", what] for what in ("observables", "counterexamples", "probes", "relations", "sources")),
        ["explain", "adam"],
        ["explain", "kv-cache/attention-equals-torch"],
        ["schema"],
        ["schema", "results"],
        ["validate"],
    ],
)
def test_everything_but_run_is_quick_and_loads_no_numbers(arguments, tmp_path):
    code = (
        "import sys\nfrom harness.cli import main\ncode = main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'sympy', 'mpmath'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout) > 20


def test_the_committed_schema_is_current():
    assert (ROOT / "claims" / "claim.schema.json").read_text(encoding="utf-8") == harness("schema").stdout


def test_quiet_prints_nothing_and_verbose_every_check(tmp_path):
    one = "--only", "adam/first-step"
    assert harness("run", "claims/", *one, "-q", "--out", tmp_path).stdout == ""
    result = harness("run", "claims/", *one, "-v", "--out", tmp_path)
    report = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for check in report["claims"][0]["checks"]:
        assert f"pass {check['id']}" in result.stdout


def test_one_check_alone_does_not_verify_its_claim(tmp_path):
    result = harness("run", "claims/", "--only", "adam/first-step", "--out", tmp_path)
    assert (result.returncode, verdicts(tmp_path)) == (1, {"adam": "unproven"})
    assert "was not run" in result.stdout

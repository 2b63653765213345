"""The verification log again, from what was found: verdicts, bounds and counts.

Times, machine paths and measured noise are left out, so that two machines with the same versions write the same text.
"""

from harness.render import words
from harness.results import CheckResult, ClaimResult, EvidenceResult, Report

_MARKS = {
    "found": "found",
    "historical": "historical",
    "gone": "**gone**",
    "ambiguous": "**ambiguous**",
    "cited": "cited",
}


def render(report: Report) -> str:
    """The report as Markdown, ending in a line break."""
    parts = [_head(report)]
    parts += [_claim(claim) for claim in report.claims]
    return "\n".join(parts)


def is_whole(report: Report) -> bool:
    """Whether the report is of the whole log, on this repository's own microgpt: only then is it the log."""
    sections = [claim.section for claim in report.claims if claim.section]
    ran = all(claim.checks and not any("was not run" in reason for reason in claim.reasons) for claim in report.claims)
    return report.run.subject.own and ran and sections == list(range(1, 13))


def _head(report: Report) -> str:
    versions = ", ".join(
        f"{name} {report.run.versions[name].split('+')[0]}"
        for name in ("torch", "transformers")
        if name in report.run.versions
    )
    lines = [
        "# microgpt: verification log",
        "",
        "Each claim of the log with its verdict, what was checked, and its evidence as it stands today. Written by",
        f"`python -m harness run claims/`, with {versions}, on `{report.run.subject.file}` (sha256",
        f"`{report.run.subject.sha256[:12]}`): {report.run.subject.about}.",
        "",
        "| § | claim | verdict | strongest evidence | mistakes rejected |",
        "|---|---|---|---|---|",
    ]
    for claim in report.claims:
        caught, tried = words.caught(claim)
        title, verdict = f"[{claim.title}](#{claim.id})", words.VERDICTS[claim.verdict].lower()
        lines.append(f"| {claim.section or '–'} | {title} | {verdict} | {claim.strongest} | {caught}/{tried} |")
    return "\n".join([*lines, ""])


def _claim(claim: ClaimResult) -> str:
    title = f"{claim.section}) {claim.title}" if claim.section else claim.title
    lines = [f'<a id="{claim.id}"></a>', "", f"## {title}", "", f"**Claim.** {claim.claim}", ""]
    lines += [
        f"**Verdict: {words.VERDICTS[claim.verdict].lower()}.**"
        + (f" {claim.qualification}" if claim.qualification else ""),
        "",
    ]
    if claim.reasons:
        lines += [*(f"- {reason}" for reason in claim.reasons), ""]
    lines += ["**What decides its words.**", ""]
    for clause in claim.words:
        by = ", ".join([*(f"`{name}`" for name in clause.by), *([f"cites `{clause.cites}`"] if clause.cites else [])])
        lines.append(f"- “{clause.text}”: {by or 'nothing'}")
    if claim.uncovered:
        lines.append(f"- not covered: {', '.join(f'“{text}”' for text in claim.uncovered)}")
    lines += [
        "",
        "**What was checked.**",
        "",
        "| check | of | compared | numbers | bound | evidence | rejected |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_check(check) for check in claim.checks]
    lines += ["", "**Evidence.**", "", *(_evidence(item) for item in claim.evidence), ""]
    return "\n".join(lines)


def _check(check: CheckResult) -> str:
    bound = check.bound
    if check.allowed is not None and bound in ("relative", "absolute", "at most", "at least", "by at least"):
        bound += f" {words.number(check.allowed)}"
    tried = check.counterexamples + check.controls
    rejected = sum(item.outcome == "rejected" for item in tried)
    outcome = check.evidence or check.outcome
    cells = [f"`{check.id}`", check.of, f"{check.observe} {check.relation}", str(check.compared), bound, outcome]
    return "| " + " | ".join([*map(_cell, cells), f"{rejected}/{len(tried)}"]) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _evidence(item: EvidenceResult) -> str:
    text = f"- {_MARKS[item.state]}: {item.where}"
    if item.shown:
        text += f": “{item.shown}”" if item.state == "cited" else f": `{item.shown}`"
    return text + (f" ({item.message})" if item.message else "")

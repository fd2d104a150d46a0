"""The report of a probe run, as text with the fixes, or as JSON lines."""

import json
from collections.abc import Iterator

from pushd.ctl.doctor.diagnosis import Problem, ProblemKind
from pushd.ctl.doctor.fixes import fixes_for, identify_proxies
from pushd.ctl.doctor.probe_run import Finding, ProbeReport

_EXTRA_FIXES = {
    ProblemKind.ADDRESS: "and the proxy's address in pushd's http.trusted_proxies",
    ProblemKind.HOST: "and the page's host in pushd's http.hosts; or its origin in pushd's http.allow_origins",
    ProblemKind.CUT: "or a shorter keepalive in pushd (raw streams have none)",
}


def format_text(report: ProbeReport) -> Iterator[str]:
    """Yield a line per check, then the proxy configuration that fixes the problems."""
    proxies = identify_proxies(report.servers)
    names = ", ".join(sorted(report.servers)) or "no server"
    yield f"responses name {names}"
    for finding in report.findings:
        for note in finding.notes:
            yield f"{finding.name:<10} {note.level:<9} {note.text}"
        if not (finding.problems or finding.notes):
            yield f"{finding.name:<10} fine      {finding.summary}"
        for problem in finding.problems:
            yield f"{finding.name:<10} {problem.outcome:<9} {problem.text}"
    for kind in ProblemKind:
        affected = [finding.name for finding in report.findings if kind in {each.kind for each in finding.problems}]
        if affected and (fixes := fixes_for(kind, proxies)):
            yield ""
            yield f"against {kind} ({', '.join(affected)}):"
            for proxy, text in fixes.items():
                yield f"  {proxy}"
                yield from (f"      {line}" for line in text.splitlines())
            if kind in _EXTRA_FIXES:
                yield f"  {_EXTRA_FIXES[kind]}"


def format_json(report: ProbeReport) -> Iterator[str]:
    """Yield a JSON object per check."""
    proxies = identify_proxies(report.servers)
    for finding in report.findings:
        yield json.dumps(_finding_object(finding, proxies))


def _finding_object(finding: Finding, proxies: list[str]) -> dict[str, object]:
    return {
        "technique": finding.name,
        "outcome": [*(problem.outcome for problem in finding.problems), *(note.level for note in finding.notes)]
        or ["fine"],
        "status": finding.status,
        "ms": None if finding.seconds is None else round(finding.seconds * 1000, 1),
        "faults": [_problem_object(problem, proxies) for problem in finding.problems],
        "notes": [note._asdict() for note in finding.notes],
        "proxies": proxies,
    }


def _problem_object(problem: Problem, proxies: list[str]) -> dict[str, object]:
    return {"fault": problem.kind, "text": problem.text, "cures": fixes_for(problem.kind, proxies)}

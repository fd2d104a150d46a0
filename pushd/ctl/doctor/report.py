"""What was found, as a table with the lines that mend it, or as lines of JSON."""

import json
from collections.abc import Iterator

from pushd.ctl.doctor.diagnosis import Problem, ProblemKind
from pushd.ctl.doctor.fixes import fixes_for, identify_proxies
from pushd.ctl.doctor.probe_run import Finding, ProbeReport

_EXTRA_FIXES = {
    ProblemKind.ADDRESS: "and the proxy's address in pushd's http.trusted_proxies",
    ProblemKind.HOST: "or the page's address in pushd's http.allow_origins",
    ProblemKind.CUT: "or, but for raw streams, which have no sign of life, a shorter keepalive in pushd",
}


def format_text(report: ProbeReport) -> Iterator[str]:
    """Give a line about each technique, and then the lines that mend what is wrong."""
    proxies = identify_proxies(report.servers)
    names = ", ".join(sorted(report.servers)) or "nothing"
    yield f"answers name {names}"
    for finding in report.findings:
        if not finding.problems:
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
    """Give an object about each technique."""
    proxies = identify_proxies(report.servers)
    for finding in report.findings:
        yield json.dumps(_finding_object(finding, proxies))


def _finding_object(finding: Finding, proxies: list[str]) -> dict[str, object]:
    return {
        "technique": finding.name,
        "outcome": [problem.outcome for problem in finding.problems] or ["fine"],
        "status": finding.status,
        "ms": None if finding.seconds is None else round(finding.seconds * 1000, 1),
        "faults": [_problem_object(problem, proxies) for problem in finding.problems],
        "proxies": proxies,
    }


def _problem_object(problem: Problem, proxies: list[str]) -> dict[str, object]:
    return {"fault": problem.kind, "text": problem.text, "cures": fixes_for(problem.kind, proxies)}

"""What was found, as a table with the lines that mend it, or as lines of JSON."""

import json
from collections.abc import Iterator

from pushd.ctl.doctor.diagnosis import Fault, Kind
from pushd.ctl.doctor.fixes import cures, named
from pushd.ctl.doctor.probe_run import Examined, Finding

_BESIDE = {
    Kind.ADDRESS: "and the proxy's address in pushd's http.trusted_proxies",
    Kind.HOST: "or the page's address in pushd's http.allow_origins",
    Kind.CUT: "or, but for raw streams, which have no sign of life, a shorter keepalive in pushd",
}


def lines(examined: Examined) -> Iterator[str]:
    """Give a line about each technique, and then the lines that mend what is wrong."""
    proxies = named(examined.servers)
    shown = ", ".join(sorted(examined.servers)) or "nothing"
    yield f"answers name {shown}"
    for finding in examined.findings:
        if not finding.faults:
            yield f"{finding.name:<10} fine      {finding.note}"
        for fault in finding.faults:
            yield f"{finding.name:<10} {fault.word:<9} {fault.text}"
    for kind in Kind:
        suffering = [finding.name for finding in examined.findings if kind in {each.kind for each in finding.faults}]
        if suffering and (written := cures(kind, proxies)):
            yield ""
            yield f"against {kind} ({', '.join(suffering)}):"
            for proxy, text in written.items():
                yield f"  {proxy}"
                yield from (f"      {line}" for line in text.splitlines())
            if kind in _BESIDE:
                yield f"  {_BESIDE[kind]}"


def json_lines(examined: Examined) -> Iterator[str]:
    """Give an object about each technique."""
    proxies = named(examined.servers)
    for finding in examined.findings:
        yield json.dumps(_object(finding, proxies))


def _object(finding: Finding, proxies: list[str]) -> dict[str, object]:
    return {
        "technique": finding.name,
        "outcome": [fault.word for fault in finding.faults] or ["fine"],
        "status": finding.status,
        "ms": None if finding.seconds is None else round(finding.seconds * 1000, 1),
        "faults": [_fault(fault, proxies) for fault in finding.faults],
        "proxies": proxies,
    }


def _fault(fault: Fault, proxies: list[str]) -> dict[str, object]:
    return {"fault": fault.kind, "text": fault.text, "cures": cures(fault.kind, proxies)}

"""`pushctl doctor`: check what proxies break, and print how to fix it."""

import re
import sys
from argparse import Namespace

from pushd.ctl.api_client import ApiClient, api_of
from pushd.ctl.colors import Color, paint
from pushd.ctl.doctor.probe_run import probe
from pushd.ctl.doctor.report import format_json, format_text
from pushd.ctl.errors import EXIT_FAILED
from pushd.ctl.terminal import escape_controls, warn

_COLORS = {
    "fine": Color.GREEN,
    "info": Color.GREEN,
    **dict.fromkeys(("warning", "late", "buffered"), Color.YELLOW),
    **dict.fromkeys(("cut", "hidden", "refused"), Color.RED),
}
_OUTCOME = re.compile(rf"(\w+ +)({'|'.join(_COLORS)})( .*)", re.DOTALL)


def doctor(args: Namespace) -> int:
    """Print what proxies in front of the daemon break for each transport, and how to fix it."""
    direct = api_of(args)
    target = ApiClient(args.target, direct.credential) if args.target else direct
    try:
        report = probe(target, direct, args.only, args.idle, _show_progress)
    finally:
        _show_progress("")
    for line in (format_json if args.json else format_text)(report):
        print(line if args.json else _painted(line))
    if not report.has_published:
        warn("nothing could be published, so no transport was tested; use --url to give the address of pushd itself")
    if report.leftover_channel:
        warn(f"the channel {report.leftover_channel} could not be deleted; its messages will expire")
    is_fine = report.has_published and not any(finding.problems for finding in report.findings)
    return 0 if is_fine else EXIT_FAILED


def _painted(line: str) -> str:
    """Return a line of a report, whose second word is an outcome, with this in its color."""
    found = _OUTCOME.match(escape_controls(line))
    return f"{found[1]}{paint(found[2], _COLORS[found[2]])}{found[3]}" if found else escape_controls(line)


def _show_progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}\x1b[K", end="", file=sys.stderr, flush=True)

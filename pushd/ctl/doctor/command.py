"""`pushctl doctor`: check what proxies break, and print how to fix it."""

import sys
from argparse import Namespace

from pushd.ctl.api_client import ApiClient, api_of
from pushd.ctl.doctor.probe_run import probe
from pushd.ctl.doctor.report import format_json, format_text
from pushd.ctl.errors import EXIT_FAILED
from pushd.ctl.terminal import warn


def doctor(args: Namespace) -> int:
    """Print what proxies in front of the daemon break for each transport, and how to fix it."""
    direct = api_of(args)
    target = ApiClient(args.target, direct.credential) if args.target else direct
    try:
        report = probe(target, direct, args.only, args.idle, _show_progress)
    finally:
        _show_progress("")
    print("\n".join((format_json if args.json else format_text)(report)))
    if not report.has_published:
        warn("nothing could be published, so no transport was tested; use --url to give the address of pushd itself")
    if report.leftover_channel:
        warn(f"the channel {report.leftover_channel} could not be deleted; its messages will expire")
    is_fine = report.has_published and not any(finding.problems for finding in report.findings)
    return 0 if is_fine else EXIT_FAILED


def _show_progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}\x1b[K", end="", file=sys.stderr, flush=True)

"""`pushctl health`: whether the daemon is ready, and why not."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pushd.ctl.api_client import api_of
from pushd.ctl.colors import Color, paint
from pushd.ctl.errors import EXIT_FAILED
from pushd.ctl.output import escape_controls


def add_health_options(command: ArgumentParser) -> None:
    """Add the options of `health`."""
    command.add_argument("--strict", action="store_true", help="exit with status 1 if something is degraded, too")
    command.add_argument("--json", action="store_true", help="print the answer of the daemon as JSON")


def health(args: Namespace) -> int:
    """Print whether the daemon is ready, and why it is not or what is degraded.

    The exit status is 0 if it is ready; with ``--strict``, only if nothing is degraded.
    """
    state = api_of(args).request_json("GET", "/health/ready", accept=HTTPStatus.SERVICE_UNAVAILABLE)
    lines = [json.dumps(state)] if args.json else map(escape_controls, _lines(state))
    is_degraded = bool(state.get("degraded"))
    color = Color.RED if not state.get("ready") else Color.YELLOW if is_degraded else Color.GREEN
    for line in lines:
        print(line if args.json else paint(line, color))
    return 0 if state.get("ready") and not (args.strict and is_degraded) else EXIT_FAILED


def _lines(state: Mapping[str, Any]) -> Iterator[str]:
    if state.get("ready"):
        yield "ready"
    else:
        error = state.get("error") or {}
        yield f"not ready: {state.get('reason') or error.get('message') or 'the daemon gives no reason'}"
    for phrase in state.get("degraded", ()):
        yield f"degraded: {phrase}"

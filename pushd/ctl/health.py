"""`pushctl health`: whether the daemon is ready, and why not."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pushd.client.core.interface import HttpResponse
from pushd.client.core.refusals import refusal_of
from pushd.ctl.api_client import api_of
from pushd.ctl.colors import Color, paint
from pushd.ctl.errors import EXIT_FAILED
from pushd.ctl.terminal import escape_controls


def health(args: Namespace) -> int:
    """Print whether the daemon is ready, and why it is not or what is degraded.

    The exit status is 0 if it is ready; with ``--strict``, only if nothing is degraded.
    """
    state = _read(api_of(args).get("/health/ready"))
    lines = [json.dumps(state)] if args.json else map(escape_controls, _lines(state))
    is_degraded = bool(state.get("degraded"))
    color = Color.RED if not state.get("ready") else Color.YELLOW if is_degraded else Color.GREEN
    for line in lines:
        print(line if args.json else paint(line, color))
    return 0 if state.get("ready") and not (args.strict and is_degraded) else EXIT_FAILED


def _read(response: HttpResponse) -> Mapping[str, Any]:
    """Return the answer of the daemon.

    :raises Refused: when it is not one of a daemon.
    """
    if response.status not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        raise refusal_of(response)
    try:
        state: Mapping[str, Any] = json.loads(response.body)
    except ValueError:
        state = {}
    if not {"ready", "error"} & set(state):
        raise refusal_of(response)
    return state


def _lines(state: Mapping[str, Any]) -> Iterator[str]:
    if state.get("ready"):
        yield "ready"
    else:
        error = state.get("error") or {}
        yield f"not ready: {state.get('reason') or error.get('message') or 'the daemon gives no reason'}"
    for phrase in state.get("degraded", ()):
        yield f"degraded: {phrase}"

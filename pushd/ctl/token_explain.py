"""The command `pushctl token explain`: why the daemon allows or refuses something to a token or a signed URL."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pushd.ctl.api_client import api_of
from pushd.ctl.command_line.explain import ACTIONS, OPERATE
from pushd.ctl.credential import read_token
from pushd.ctl.errors import EXIT_FAILED, UsageError
from pushd.ctl.terminal import escape_controls

_MAX_BYTES = 1 << 15


class Question(NamedTuple):
    """An action and its topic; for the action ``operate`` the topic is an operation."""

    action: str
    topic: str


def explain(args: Namespace) -> int:
    """Print why each action, or the request for a signed URL, is allowed or refused; the exit status is 0 if all are
    allowed.
    """
    questions: list[Question | None] = list(_questions(args))
    credential = _credential(args)
    if not questions and "url" not in credential:
        raise UsageError("nothing to explain; name topics by --subscribe, --publish … or by --action and --topic")
    api = api_of(args)
    is_allowed = True
    for question in questions or [None]:
        asked = {} if question is None else question._asdict()
        answer = api.request_json("POST", "/auth/explain", None, json.dumps(credential | asked).encode("ascii"))
        is_allowed &= answer["allow"]
        title = f"{args.method} of the URL" if question is None else f"{question.action} {question.topic}"
        lines = [json.dumps(asked | answer)] if args.json else _lines(title, answer)
        print("\n".join(map(escape_controls, lines)))
    return 0 if is_allowed else EXIT_FAILED


def _lines(title: str, answer: Mapping[str, Any]) -> Iterator[str]:
    outcome = "allowed" if answer["allow"] else f"refused: {answer['code']}"
    yield f"{title}: {outcome}"
    for name in ("check", "claim", "pattern", "sub", "issuer"):
        if answer.get(name):
            yield f"  {name:<8} {answer[name]}"
    if answer.get("message"):
        yield f"  {answer['message']}"


def _questions(args: Namespace) -> Iterator[Question]:
    for action in (*ACTIONS, OPERATE):
        yield from (Question(action, each) for each in getattr(args, f"explained_{action}") or ())
    if (args.action is None) != (args.topic is None):
        raise UsageError("--action and --topic must be given together")
    if args.action is not None:
        yield Question(args.action, args.topic)


def _credential(args: Namespace) -> dict[str, str | None]:
    """Return what to explain: a token, None for a peer without one, or a signed URL.

    :raises CtlError: when it cannot be read, or there are two.
    """
    if args.signed_url is None:
        return {"token": _token(args)}
    if args.explained is not None or args.explained_file is not None:
        raise UsageError("either a token or --signed-url must be given")
    url = sys.stdin.buffer.read(_MAX_BYTES).decode("latin-1").strip() if args.signed_url == "-" else args.signed_url
    return {"url": url, "method": args.method, "mount": args.mount}


def _token(args: Namespace) -> str | None:
    """Return the token to explain, which may be anything; None: explain what a peer without one may do.

    :raises CtlError: when it cannot be read, or there are two.
    """
    if args.explained is not None and args.explained_file is not None:
        raise UsageError("the token to explain must be either an argument or in --token-file")
    if args.explained_file is not None:
        return read_token(args.explained_file)
    if args.explained != "-":
        text: str | None = args.explained
        return text
    return sys.stdin.buffer.read(_MAX_BYTES).decode("latin-1").strip()

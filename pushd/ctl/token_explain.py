"""The command `pushctl token explain`: why the daemon allows or refuses something to a token or a signed URL."""

import json
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pushd.ctl.api_client import api_of
from pushd.ctl.connection_options import add_addresses_of_command
from pushd.ctl.credential import read_token
from pushd.ctl.errors import EXIT_FAILED, UsageError
from pushd.ctl.output import escape_controls
from pushd.ctl.tokens import TOPIC_LISTS, add_list, operation

if TYPE_CHECKING:
    from argparse import _SubParsersAction

ACTIONS = tuple(key for key in TOPIC_LISTS if key != "deny")
_OPERATE = "operate"
_MAX_BYTES = 1 << 15
_EXAMPLES = """examples:
  pushctl token explain --token-file phone.token --subscribe 'users/42/**'
  echo "$TOKEN" | pushctl token explain - --action history --topic news/sport
  pushctl token explain --publish chat/42        # what a peer without a token may do
  echo "$URL" | pushctl token explain --signed-url - --mount /push"""


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
    for action in (*ACTIONS, _OPERATE):
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


def add_explain_command(subparsers: "_SubParsersAction[ArgumentParser]") -> None:
    """Add the command to the parsers of `pushctl token`."""
    command = subparsers.add_parser(
        "explain",
        help="ask the daemon why a token or a signed URL is accepted or refused",
        description="Ask the daemon which check of a token or a signed URL, or which entry of its grant, allows or "
        "refuses something. The credential of pushctl itself needs the right to operate explain; it precedes the "
        "command, or is in the environment.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run="token_explain:explain")
    command.add_argument(
        "explained",
        metavar="TOKEN",
        nargs="?",
        help="the token to explain; - reads it from standard input, where the list of processes does not show it; "
        "without one, what a peer without a token may do is explained",
    )
    command.add_argument(
        "--token-file", dest="explained_file", type=Path, metavar="FILE", help="file with the token to explain"
    )
    command.add_argument(
        "--signed-url",
        metavar="URL",
        help="a signed URL to explain instead of a token; - reads it from standard input; without topics, what the "
        "request for it asks for is explained",
    )
    command.add_argument("--method", default="GET", help="method of the request for the URL (default: GET)")
    command.add_argument(
        "--mount", default="", metavar="PATH", help="the part of its path that a proxy removes, such as /push"
    )
    add_addresses_of_command(command)
    command.add_argument("--token", default=SUPPRESS, help="token of pushctl itself, as before the command")
    for action in ACTIONS:
        _add_question(command, action)
    _add_question(command, _OPERATE)
    command.add_argument("--action", choices=(*ACTIONS, _OPERATE), metavar="ACTION", help="an action, with --topic")
    command.add_argument("--topic", help="a topic for --action; for the action operate, an operation")
    command.add_argument("--json", action="store_true", help="print one line of JSON per action and topic")


def _add_question(command: ArgumentParser, action: str) -> None:
    parse, metavar = (operation, "OP,OP") if action == _OPERATE else (str, "T,T")
    summary = "operations" if action == _OPERATE else f"topics for the action {action}"
    add_list(command, action, parse, metavar, summary, f"explained_{action}")

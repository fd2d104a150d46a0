"""The commands ``pushctl revoke`` and ``pushctl kick``: withdraw credentials, and close connections."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime

from pushd.ctl.api_client import api_of, quote_path
from pushd.ctl.output import escape_controls


def add_revoke_options(command: ArgumentParser) -> None:
    """Add the options of `revoke`."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--jti", metavar="ID", help="the token with this id (claim jti)")
    what.add_argument("--sub", metavar="SUBJECT", help="all tokens of this subject")
    what.add_argument("--tag", help="all tokens with this tag")
    command.add_argument(
        "--before",
        type=_time,
        metavar="TIME",
        help="only tokens issued before: unix seconds, or a time such as 2026-11-27T20:15:00Z (default: now)",
    )
    command.add_argument("--reason", default="", help="for the list of revocations; clients do not receive it")
    command.add_argument("--json", action="store_true", help="print JSON")


def add_kick_options(command: ArgumentParser) -> None:
    """Add the arguments of `kick`."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("id", nargs="?", help="connection id, as printed by `pushctl connections`")
    what.add_argument("--sub", metavar="SUBJECT", help="all connections of this subject, at all nodes")


def revoke(args: Namespace) -> int:
    """Revoke tokens, at all nodes; print until when the revocation is kept."""
    names = {name: getattr(args, name) for name in ("jti", "sub", "tag", "before") if getattr(args, name) is not None}
    body = json.dumps({**names, "reason": args.reason}).encode()
    kept = api_of(args).request_json("POST", "/auth/revocations", body=body)
    if args.json:
        print(json.dumps(kept))
    else:
        named = next(f"{kind} {kept[kind]}" for kind in ("jti", "sub", "tag") if kind in kept)
        times = f"issued before {_shown(kept['before'])}, kept until {_shown(kept['until'])}"
        print(escape_controls(f"revoked {named}: {times}"))
    return 0


def kick(args: Namespace) -> int:
    """Close a connection, or all those of a subject."""
    api = api_of(args)
    if args.sub is None:
        print("closed", api.request_json("DELETE", f"/connections/{quote_path(args.id)}")["closed"])
        return 0
    answer = api.request_json("DELETE", "/connections", {"sub": args.sub})
    print(f"closed {answer['closed']} connections")
    if silent := answer.get("unanswered"):
        print(f"{silent} other nodes have not replied in time; they may have closed more", file=sys.stderr)
    return 0


def _time(text: str) -> int:
    """Return unix seconds."""
    try:
        if text.isascii() and text.isdigit():
            return int(text)
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be unix seconds or a time such as 2026-11-27T20:15:00Z (got {text!r})") from None
    return int((time if time.tzinfo else time.astimezone()).timestamp())


def _shown(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

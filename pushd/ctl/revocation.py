"""The commands ``pushctl revoke`` and ``pushctl kick``: withdraw credentials, and close connections."""

import json
import sys
from argparse import Namespace
from datetime import UTC, datetime

from pushd.ctl.api_client import api_of, quote_path
from pushd.ctl.terminal import escape_controls


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


def _shown(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"

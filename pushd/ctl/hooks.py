"""The command ``pushctl hooks``: what hooks do, and sending their dead letters again."""

import json
from argparse import Namespace
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pushd.ctl.api_client import api_of, quote_path
from pushd.ctl.terminal import escape_controls


def hooks(args: Namespace) -> int:
    """List hooks, show one, or send its dead letters again."""
    if args.replay and not args.name:
        args.usage_of.error("--replay needs the name of a hook")
    if args.since and not args.replay:
        args.usage_of.error("--since needs --replay")
    api = api_of(args)
    if args.replay:
        query = {"since": args.since} if args.since else None
        answer = api.request_json("POST", f"/hooks/{quote_path(args.name)}/replay", query)
        print(json.dumps(answer) if args.json else _replayed(answer))
        return 0
    found = api.request_json("GET", f"/hooks/{quote_path(args.name)}" if args.name else "/hooks")
    if args.json:
        print(json.dumps(found))
        return 0
    for hook in [found] if args.name else found:
        print(escape_controls(_line(hook)))
    return 0


def _replayed(answer: Mapping[str, Any]) -> str:
    return f"{answer['hook']}: {answer['replayed']} events are sent again; newer ones are after {answer['cursor']}"


def _line(hook: Mapping[str, Any]) -> str:
    time = None if hook["oldest"] is None else datetime.fromtimestamp(hook["oldest"], UTC)
    oldest = "" if time is None else f" since {time:%Y-%m-%d %H:%M:%S} UTC"
    failure = f": {hook['failure']}" if hook["failure"] else ""
    return f"{hook['name']} {hook['state']}{failure}; waiting {hook['backlog']}{oldest}, dead {hook['dead']}"

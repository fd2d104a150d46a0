"""`pushctl who`: the members of a channel, and what becomes of them."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pushd.client import Gap, Members, Message
from pushd.ctl.api_client import ApiClient, api_of
from pushd.ctl.subscriptions import subscribe
from pushd.ctl.terminal import escape_controls, warn

_PAGE = 1000
_CHANGES = "enter", "update", "leave"


def who(args: Namespace) -> int:
    """Print the members of a channel; with ``--watch`` go on with the changes, from the cursor of the list."""
    api = api_of(args)
    cursor = ""
    for page in _pages(api, args.channel):
        cursor = cursor or page.cursor
        for member in page:
            _show("member", asdict(member), args)
    if args.watch:
        sys.stdout.flush()
        _watch(api, cursor, args)
    return 0


def _watch(api: ApiClient, cursor: str, args: Namespace) -> None:
    for item in subscribe(api, f"$presence/{args.channel}", since=cursor):
        if isinstance(item, Gap):
            warn(f"gap: {item.reason}; the list may be incomplete from here on, start again to read it")
        elif isinstance(item, Message):
            event = item.data
            diff = {name: event[name] for name in _CHANGES} if event["action"] == "diff" else {event["action"]: [event]}
            for action, members in diff.items():
                for member in members:
                    _show(action, member, args)
            sys.stdout.flush()


def _pages(api: ApiClient, channel: str) -> Iterator[Members]:
    after = None
    while True:
        page = api.presence(channel, limit=_PAGE, after=after)
        yield page
        after = page.next
        if after is None:
            return


def _show(action: str, member: Mapping[str, Any], args: Namespace) -> None:
    if args.json:
        print(json.dumps({"action": action, **{key: member[key] for key in member if key != "action"}}))
        return
    words = [member["id"]] if action == "member" else [action, member["id"]]
    if action == "member":
        since = datetime.fromtimestamp(member["since"], UTC)
        words += [str(member["connections"]), f"{since:%Y-%m-%dT%H:%M:%SZ}"]
    if action == "leave" and member.get("reason"):
        words.append(member["reason"])
    if action != "leave" and member["meta"] is not None:
        words.append(json.dumps(member["meta"], ensure_ascii=False))
    print(escape_controls(" ".join(words)))

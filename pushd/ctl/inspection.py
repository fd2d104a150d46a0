"""`pushctl channels`, `info` and `connections`: what the daemon has at the moment."""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from pushd.ctl.api_client import ApiClient, api_of, quote_path
from pushd.ctl.terminal import escape_controls

_PAGE = 1000


def channels(args: Namespace) -> int:
    """Print the names of all channels."""
    api, after = api_of(args), ""
    while names := api.request_json(
        "GET", "/channels", {"prefix": args.prefix or None, "after": after or None, "limit": _PAGE}
    )["channels"]:
        print("\n".join(names))
        after = names[-1]
    return 0


def info(args: Namespace) -> int:
    """Print the state of a channel."""
    fields = api_of(args).request_json("GET", f"/pub/{quote_path(args.channel)}")
    if args.json:
        print(json.dumps(fields))
        return 0
    for name, value in fields.items():
        shown = " ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else value
        print(escape_controls(f"{name}: {'-' if shown in (None, '') else shown}"))
    return 0


def connections(args: Namespace) -> int:
    """Print the open connections, oldest first."""
    for each in list_connections(api_of(args), args.channel):
        if args.json:
            print(json.dumps(each))
        else:
            topics = ",".join(each["topics"]) or "-"
            print(each["id"], each["transport"], each["address"], f"{each['queue_bytes']}B", each["messages"], topics)
    return 0


def list_connections(api: ApiClient, channel: str | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield the open connections of the daemon, oldest first.

    :param channel: only its subscribers; None: all.
    """
    after = None
    while page := api.request_json("GET", "/connections", {"channel": channel, "after": after, "limit": _PAGE}):
        yield from page
        after = page[-1]["id"]

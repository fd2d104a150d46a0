"""What each command does. A command is given what was said on the command line, and returns the exit status."""

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.bench import Load, Plan, afford
from pushd.ctl.clients import WAYS, Heard, Place
from pushd.ctl.doctor.probe_run import examine
from pushd.ctl.doctor.report import json_lines, lines
from pushd.ctl.errors import REFUSED, Failure, Refused
from pushd.ctl.latency import in_words
from pushd.ctl.output import run_program, write_data, write_json, write_passing
from pushd.ctl.progress import Progress
from pushd.ctl.reconnect import follow
from pushd.ctl.subscriber_counts import Crowds

_PAGE = 1000
_BUSY = 0.9
"""The part of the time from which on the load is what limits, and not who bears it."""


def publish(said: Namespace) -> int:
    """Publish one message, or each line of the input; print the ids."""
    web = Web(said.url)
    query = {"event": said.event, "ttl": said.ttl, "end": 1 if said.end else None}
    headers = {"Content-Type": said.type} if said.type else {}
    for body in _bodies(said):
        response = web.open("POST", f"/pub/{in_path(said.channel)}", query, body, headers)
        receipts = json.loads(response.read())
        for receipt in receipts if isinstance(receipts, list) else [receipts]:
            if "error" in receipt:
                raise Refused(f"{receipt['error']['code']}: {receipt['error']['message']}")
            print(receipt["id"], receipt["channel"], receipt["subscribers"])
    return 0


def subscribe(said: Namespace) -> int:
    """Show what comes, or run a program for each message."""
    is_named = "," in said.topics or "*" in said.topics
    count = 0
    for heard in _heard(said):
        if "id" in heard:
            count += 1
            if said.exec:
                _run(said.exec, heard)
            elif not said.json:
                write_data(_out(), heard, is_named)
        elif not (said.json or heard.get("type") in ("ping", "end")):
            _say(f"gap: {heard['reason']} (from {heard['from']} to {heard['to']})")
        if said.json and not said.exec and heard.get("type") != "ping":
            write_json(_out(), heard)
        if said.count and count >= said.count:
            break
    return 0


def tap(said: Namespace) -> int:
    """Show a line about each message that passes."""
    crowds = Crowds(Web(said.url))
    for heard in _heard(said):
        if "id" in heard:
            write_passing(_out(), heard, crowds.of(heard["channel"]))
        elif heard.get("type") == "gap":
            _say(f"gap: {heard['reason']}")
    return 0


def channels(said: Namespace) -> int:
    """Print the names of all channels."""
    web, after = Web(said.url), ""
    while names := web.ask("GET", "/channels", {"prefix": said.prefix or None, "after": after or None, "limit": _PAGE})[
        "channels"
    ]:
        print("\n".join(names))
        after = names[-1]
    return 0


def info(said: Namespace) -> int:
    """Print what is known of a channel."""
    _print_facts(Web(said.url).ask("GET", f"/pub/{in_path(said.channel)}"), said.json)
    return 0


def connections(said: Namespace) -> int:
    """Print who is connected, the oldest first."""
    for each in _connections(Web(said.url), said.channel):
        if said.json:
            print(json.dumps(each))
        else:
            topics = ",".join(each["topics"]) or "-"
            print(each["id"], each["transport"], each["address"], f"{each['queue_bytes']}B", each["messages"], topics)
    return 0


def kick(said: Namespace) -> int:
    """Close a connection."""
    print("closed", Web(said.url).ask("DELETE", f"/connections/{in_path(said.id)}")["closed"])
    return 0


def bench(said: Namespace) -> int:
    """Put load on the daemon, and tell how it was borne: by the exit status too."""
    plan = Plan(said.transport, said.subscribers, said.channels, said.rate, said.seconds, said.size)
    afford(plan.subscribers)
    progress = Progress(sys.stderr)
    try:
        outcome = Load(Web(said.url), _tcp_of(said), plan, progress).run()
    finally:
        progress.end()
    figures = outcome.latencies.figures()
    if said.json:
        print(json.dumps({**outcome.facts(), "latency": figures}))
    else:
        print("\n".join([*outcome.lines(plan), *(f"{name:>9}  {in_words(value)}" for name, value in figures.items())]))
        print("\n".join(["", *outcome.latencies.bars()]))
    if outcome.busy > _BUSY:
        _say("pushctl itself was busy all the time: the daemon could do more than this shows")
    return 0 if outcome.is_good else REFUSED


def health(said: Namespace) -> int:
    """Tell whether the daemon is ready: by the exit status too."""
    try:
        Web(said.url).ask("GET", "/health/ready")
    except Refused as refusal:
        print(f"not ready: {refusal}")
        return REFUSED
    print("ready")
    return 0


def doctor(said: Namespace) -> int:
    """Tell what the way to the daemon does to each technique, and what mends it."""
    direct = Web(said.url)
    through = Web(said.through) if said.through else direct
    try:
        examined = examine(through, direct, said.only, said.idle, _show_progress)
    finally:
        _show_progress("")
    print("\n".join((json_lines if said.json else lines)(examined)))
    if not examined.has_listened:
        _say("nothing could be published, so nobody listened; let --url say where pushd itself is")
    if examined.left:
        _say(f"the channel {examined.left} could not be deleted; its messages expire by themselves")
    is_fine = examined.has_listened and not any(finding.faults for finding in examined.findings)
    return 0 if is_fine else REFUSED


def _bodies(said: Namespace) -> Iterator[bytes]:
    if said.text is not None:
        yield said.text.encode("utf-8", "surrogateescape")
    elif said.file is not None:
        try:
            with open(said.file, "rb") as file:
                yield file.read()
        except OSError as error:
            raise Failure(f"{said.file}: {error.strerror}") from error
    elif said.lines:
        for line in sys.stdin.buffer:
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    else:
        yield b"" if said.end and sys.stdin.isatty() else sys.stdin.buffer.read()


def _heard(said: Namespace) -> Iterable[Heard]:
    place = Place(Web(said.url), _tcp_of(said), said.topics, said.slow)
    return follow(WAYS[said.transport], place, said.since, _say)


def _tcp_of(said: Namespace) -> tuple[str, int]:
    host, _, port = said.tcp.rpartition(":")
    if not host or not port.isdigit():
        raise Failure(f"{said.tcp!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _run(command: str, message: Heard) -> None:
    try:
        status = run_program(command, message)
    except OSError as error:
        raise Failure(f"{command}: {error.strerror}") from error
    if status:
        _say(f"{command} left with {status} for {message['id']}")


def _connections(web: Web, channel: str | None) -> Iterator[Mapping[str, Any]]:
    after = None
    while page := web.ask("GET", "/connections", {"channel": channel, "after": after, "limit": _PAGE}):
        yield from page
        after = page[-1]["id"]


def _print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        shown = " ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else value
        print(f"{name}: {'-' if shown in (None, '') else shown}")


def _out() -> BinaryIO:
    return sys.stdout.buffer


def _say(sentence: str) -> None:
    print(f"pushctl: {sentence}", file=sys.stderr, flush=True)


def _show_progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}\x1b[K", end="", file=sys.stderr, flush=True)


def leave_quietly() -> None:
    """Let nobody hear of output that nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

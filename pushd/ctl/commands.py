"""The commands of pushctl: each takes the parsed arguments and returns the exit status."""

import json
import mimetypes
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.bench import BenchPlan, BenchRun, raise_file_limit
from pushd.ctl.clients import TRANSPORTS, Item, Target
from pushd.ctl.credential import choose_credential
from pushd.ctl.doctor.probe_run import probe
from pushd.ctl.doctor.report import format_json, format_text
from pushd.ctl.errors import EXIT_FAILED, CtlError, RequestRefused
from pushd.ctl.latency import format_duration
from pushd.ctl.output import escape_controls, is_message, run_program, write_data, write_json, write_summary
from pushd.ctl.progress import Progress
from pushd.ctl.reconnect import subscribe_with_reconnect
from pushd.ctl.subscriber_counts import SubscriberCounts

_PAGE = 1000
_BUSY_SHARE = 0.9
"""Fraction of CPU time above which pushctl itself, not the daemon, limits the throughput."""


def publish(args: Namespace) -> int:
    """Publish one message, or each line of the input; print the message ids."""
    api = _api(args)
    query = {
        "event": args.event,
        "ttl": args.ttl,
        "end": 1 if args.end else None,
        "keep": 0 if args.no_keep else None,
        "except": args.exclude,
    }
    for body in _bodies(args):
        content_type = args.type or (_type_of_file(args.file, body) if args.file else None)
        headers = {"Content-Type": content_type} if content_type else {}
        response = api.open("POST", f"/pub/{quote_path(args.channel)}", query, body, headers)
        receipts = json.loads(response.read())
        for receipt in receipts if isinstance(receipts, list) else [receipts]:
            if "error" in receipt:
                raise RequestRefused(f"{receipt['error']['code']}: {receipt['error']['message']}")
            print(receipt["id"] or "-", receipt["channel"], receipt["subscribers"])
    return 0


def subscribe(args: Namespace) -> int:
    """Print each message, or run a program for it."""
    with_channel = "," in args.topics or "*" in args.topics
    count = 0
    for item in _items(args):
        if is_message(item):
            count += 1
            if args.exec:
                _run_program(args.exec, item)
            elif not args.json:
                write_data(_stdout(), item, with_channel)
        elif not args.json:
            _report(item)
        if args.json and not args.exec and item.get("type") != "ping":
            write_json(_stdout(), item)
        if args.count and count >= args.count:
            break
    return 0


def tap(args: Namespace) -> int:
    """Print a summary line for each message."""
    counts = SubscriberCounts(_api(args))
    for item in _items(args):
        if is_message(item):
            write_summary(_stdout(), item, counts.get(item["channel"]))
        else:
            _report(item)
    return 0


def channels(args: Namespace) -> int:
    """Print the names of all channels."""
    api, after = _api(args), ""
    while names := api.request_json(
        "GET", "/channels", {"prefix": args.prefix or None, "after": after or None, "limit": _PAGE}
    )["channels"]:
        print("\n".join(names))
        after = names[-1]
    return 0


def info(args: Namespace) -> int:
    """Print the state of a channel."""
    _print_object(_api(args).request_json("GET", f"/pub/{quote_path(args.channel)}"), args.json)
    return 0


def connections(args: Namespace) -> int:
    """Print the open connections, oldest first."""
    for each in _connections(_api(args), args.channel):
        if args.json:
            print(json.dumps(each))
        else:
            topics = ",".join(each["topics"]) or "-"
            print(each["id"], each["transport"], each["address"], f"{each['queue_bytes']}B", each["messages"], topics)
    return 0


def bench(args: Namespace) -> int:
    """Run a load test; the exit status is 0 if every message was delivered once and in order."""
    plan = BenchPlan(args.transport, args.subscribers, args.channels, args.rate, args.seconds, args.size)
    raise_file_limit(plan.subscribers)
    progress = Progress(sys.stderr)
    try:
        result = BenchRun(_api(args), _tcp_address(args), plan, progress).run()
    finally:
        progress.end()
    quantiles = result.latencies.quantiles()
    if args.json:
        print(json.dumps({**result.as_dict(), "latency": quantiles}))
    else:
        print(
            "\n".join(
                [
                    *result.format_lines(plan),
                    *(f"{name:>9}  {format_duration(value)}" for name, value in quantiles.items()),
                ]
            )
        )
        print("\n".join(["", *result.latencies.histogram()]))
    if result.busy > _BUSY_SHARE:
        _warn("pushctl itself used all its CPU time: the daemon may be faster than these figures show")
    return 0 if result.is_ok else EXIT_FAILED


def health(args: Namespace) -> int:
    """Print whether the daemon is ready; the exit status is 0 if it is."""
    try:
        _api(args).request_json("GET", "/health/ready")
    except RequestRefused as refusal:
        print(f"not ready: {refusal}")
        return EXIT_FAILED
    print("ready")
    return 0


def doctor(args: Namespace) -> int:
    """Print what proxies in front of the daemon break for each transport, and how to fix it."""
    direct = _api(args)
    target = ApiClient(args.target, direct.credential) if args.target else direct
    try:
        report = probe(target, direct, args.only, args.idle, _show_progress)
    finally:
        _show_progress("")
    print("\n".join((format_json if args.json else format_text)(report)))
    if not report.has_published:
        _warn("nothing could be published, so no transport was tested; use --url to give the address of pushd itself")
    if report.leftover_channel:
        _warn(f"the channel {report.leftover_channel} could not be deleted; its messages will expire")
    is_fine = report.has_published and not any(finding.problems for finding in report.findings)
    return 0 if is_fine else EXIT_FAILED


def _api(args: Namespace) -> ApiClient:
    return ApiClient(args.url, choose_credential(args))


def _report(item: Item) -> None:
    """Print a warning for a gap, a token that expires soon, or a topic that is not allowed any more."""
    if item.get("type") == "gap":
        _warn(f"gap: {item['reason']} (from {item['from']} to {item['to']})")
    elif item.get("type") == "expiring":
        _warn(f"the token expires at {datetime.fromtimestamp(item['at'], UTC):%H:%M:%S} UTC")
    elif "error" in item:
        _warn(f"{item['error']['code']}: {item['error']['message']}")


def _bodies(args: Namespace) -> Iterator[bytes]:
    if args.text is not None:
        yield args.text.encode("utf-8", "surrogateescape")
    elif args.file is not None:
        try:
            with open(args.file, "rb") as file:
                yield file.read()
        except OSError as error:
            raise CtlError(f"{args.file}: {error.strerror}") from error
    elif args.lines:
        for line in sys.stdin.buffer:
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    else:
        yield b"" if args.end and sys.stdin.isatty() else sys.stdin.buffer.read()


def _type_of_file(name: str, data: bytes) -> str | None:
    """Return the content type of a file by its name; None if the daemon should find it by the data."""
    content_type, compression = mimetypes.guess_type(name, strict=False)
    if content_type is None or compression is not None or content_type == "text/plain":
        return None
    if not content_type.startswith("text/"):
        return content_type
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return content_type
    return f"{content_type}; charset=utf-8"


def _items(args: Namespace) -> Iterable[Item]:
    target = Target(_api(args), _tcp_address(args), args.topics, args.slow)
    return subscribe_with_reconnect(TRANSPORTS[args.transport], target, args.since, _warn)


def _tcp_address(args: Namespace) -> tuple[str, int]:
    host, _, port = args.tcp.rpartition(":")
    if not host or not port.isdigit():
        raise CtlError(f"--tcp must be HOST:PORT (got {args.tcp!r})")
    return host.strip("[]"), int(port)


def _run_program(command: str, message: Item) -> None:
    try:
        status = run_program(command, message)
    except OSError as error:
        raise CtlError(f"{command}: {error.strerror}") from error
    if status:
        _warn(f"{command} exited with status {status} for message {message['id']}")


def _connections(api: ApiClient, channel: str | None) -> Iterator[Mapping[str, Any]]:
    after = None
    while page := api.request_json("GET", "/connections", {"channel": channel, "after": after, "limit": _PAGE}):
        yield from page
        after = page[-1]["id"]


def _print_object(fields: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(fields))
        return
    for name, value in fields.items():
        shown = " ".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, dict) else value
        print(escape_controls(f"{name}: {'-' if shown in (None, '') else shown}"))


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


def _warn(sentence: str) -> None:
    print(f"pushctl: {escape_controls(sentence)}", file=sys.stderr, flush=True)


def _show_progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}\x1b[K", end="", file=sys.stderr, flush=True)


def discard_output() -> None:
    """Redirect standard output to the null device, after its reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Output of received messages: to standard output or to a program."""

import base64
import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from pushd.ctl.colors import Color, paint

if TYPE_CHECKING:
    from pushd.ctl.clients import Item

_CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters by which a text could control a terminal or change the order of what it shows, but not tab and newline."""


def is_message(item: "Item") -> bool:
    """Return whether an item is a message, which may be ephemeral."""
    return "channel" in item and "type" not in item


def message_data(message: "Item") -> bytes:
    """Return the data of a message as it was published."""
    if "data_base64" in message:
        return base64.b64decode(message["data_base64"])
    data = message["data"]
    is_json = str(message["content_type"]).partition(";")[0].strip().lower() == "application/json"
    return json.dumps(data, ensure_ascii=False).encode() if is_json else str(data).encode()


def escape_controls(text: str) -> str:
    """Escape characters that could control a terminal, so that what a publisher sent cannot; JSON stays JSON."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_data(out: BinaryIO, message: "Item", with_channel: bool) -> None:
    """Write the data and a newline; with `with_channel`, the channel name and a tab come first."""
    name = f"{message['channel']}\t".encode() if with_channel else b""
    _write_line(out, name + message_data(message))


def write_json(out: BinaryIO, item: "Item") -> None:
    """Write a message or control object as a line of JSON."""
    _write_line(out, json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())


def write_summary(out: BinaryIO, message: "Item", counts: str) -> None:
    """Write one line: time (UTC), channel, id, event, content type, size and subscriber counts, but not the data."""
    when = datetime.fromtimestamp(message.get("time", time.time()), UTC).strftime("%H:%M:%S.%f")[:-3]
    fields = (message.get("id", "-"), message.get("event", "-"), message["content_type"].replace(" ", ""))
    _write_line(out, f"{when} {message['channel']} {' '.join(fields)} {len(message_data(message))} B {counts}".encode())


def warn(sentence: str) -> None:
    """Write a warning to standard error."""
    name = paint("pushctl:", Color.YELLOW, sys.stderr)
    print(f"{name} {escape_controls(sentence)}", file=sys.stderr, flush=True)


def _write_line(out: BinaryIO, line: bytes) -> None:
    """Write a line, with what could control a terminal escaped if it is written to one."""
    if out.isatty():
        line = escape_controls(line.decode("utf-8", "backslashreplace")).encode()
    out.write(line + b"\n")
    out.flush()

"""Output of received messages: to standard output or to a program."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any, BinaryIO

from pushd.client.messages import Gap, Item, Message
from pushd.ctl.colors import Color, paint
from pushd.ctl.terminal import escape_controls


def message_data(message: Message) -> bytes:
    """Return the data of a message as it was published."""
    if isinstance(message.data, bytes):
        return message.data
    is_json = message.content_type.partition(";")[0].strip().lower() == "application/json"
    return json.dumps(message.data, ensure_ascii=False).encode() if is_json else str(message.data).encode()


def to_json(item: Item) -> dict[str, Any]:
    """Return a message, gap or end as the JSON object of the protocol."""
    if isinstance(item, Message):
        return _message_to_json(item)
    if isinstance(item, Gap):
        return {"type": "gap", "topic": item.topic, "from": item.start, "to": item.end, "reason": item.reason}
    return {"type": "end", "channel": item.channel}


def _message_to_json(message: Message) -> dict[str, Any]:
    fields = {
        "id": message.id,
        "kept": False if message.id is None else None,
        "prev": message.prev,
        "channel": message.channel,
        "time": message.time,
        "event": message.event,
        "from": message.sender,
        "reply_to": message.reply_to,
        "content_type": message.content_type,
    }
    is_bytes = isinstance(message.data, bytes)
    data = {"data_base64": base64.b64encode(message.data).decode()} if is_bytes else {"data": message.data}
    return {name: value for name, value in fields.items() if value is not None} | data


def write_data(out: BinaryIO, message: Message, with_channel: bool) -> None:
    """Write the data and a newline; with `with_channel`, the channel name and a tab come first."""
    name = paint(message.channel, Color.CYAN, out).encode() + b"\t" if with_channel else b""
    _write_line(out, message_data(message), name)


def write_json(out: BinaryIO, item: Item) -> None:
    """Write a message, gap or end as a line of JSON."""
    _write_line(out, json.dumps(to_json(item), ensure_ascii=False, separators=(",", ":")).encode())


def write_summary(out: BinaryIO, message: Message, counts: str) -> None:
    """Write one line: time (UTC), channel, id, event, content type, size and subscriber counts, but not the data."""
    when = datetime.fromtimestamp(message.time or time.time(), UTC).strftime("%H:%M:%S.%f")[:-3]
    fields = (message.id or "-", message.event or "-", message.content_type.replace(" ", ""))
    _write_line(out, f"{when} {message.channel} {' '.join(fields)} {len(message_data(message))} B {counts}".encode())


def _write_line(out: BinaryIO, line: bytes, head: bytes = b"") -> None:
    """Write a line, with what could control a terminal escaped if it is written to one.

    :param head: precedes the line, and is never escaped.
    """
    if out.isatty():
        line = escape_controls(line.decode("utf-8", "backslashreplace")).encode()
    out.write(head + line + b"\n")
    out.flush()

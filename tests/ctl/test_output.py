"""What is written to a terminal cannot control it; what is written to a file or a pipe is unchanged."""

import json
import os
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import pytest

from pushd.client import End, Gap, Message
from pushd.ctl.output import to_json, write_data, write_json, write_summary
from pushd.ctl.terminal import escape_controls

TEXT = "a\tb\nc\x1b]0;owned\x07\x9b2J\x7f\r\u202ed"
ESCAPED = "a\tb\nc\\u001b]0;owned\\u0007\\u009b2J\\u007f\\u000d\\u202ed"
MESSAGE = Message("a", TEXT, "text/plain; charset=utf-8", "e-1", 0.0, event="x\x9b2J")


class Terminal(BytesIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture
def pseudo_terminal() -> Iterator[tuple[BinaryIO, int]]:
    """A file on a pseudo-terminal, and the descriptor of its other end."""
    master, slave = os.openpty()
    with open(slave, "wb") as file:
        yield file, master
    os.close(master)


def test_data_on_a_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    write_data(out, MESSAGE, True)
    assert out.getvalue().decode() == f"\x1b[36ma\x1b[0m\t{ESCAPED}\n"


def test_bytes_on_a_terminal_that_are_not_utf_8_are_escaped() -> None:
    out = Terminal()
    write_data(out, Message("a", b"\x9b\xc3\x9c\xff", "image/png", None, 0.0), False)
    assert out.getvalue() == "\\x9bÜ\\xff\n".encode()


def test_json_on_a_terminal_is_escaped_and_still_json() -> None:
    out = Terminal()
    write_json(out, MESSAGE)
    text = out.getvalue().decode()
    assert escape_controls(text) == text
    assert json.loads(text) == to_json(MESSAGE)


def test_summary_on_a_terminal_is_escaped() -> None:
    out = Terminal()
    write_summary(out, MESSAGE, "-")
    assert b"x\\u009b2J" in out.getvalue()


def test_terminal_is_recognized(pseudo_terminal: tuple[BinaryIO, int]) -> None:
    file, master = pseudo_terminal
    write_data(file, Message("a", "\x1b[2J", "text/plain", None, 0.0), False)
    shown = b""
    while not shown.endswith(b"\n"):  # a terminal may pass on what was written in pieces
        shown += os.read(master, 100)
    assert shown == b"\\u001b[2J\r\n"


def test_data_in_a_file_is_unchanged() -> None:
    out = BytesIO()
    write_data(out, MESSAGE, False)
    assert out.getvalue() == TEXT.encode() + b"\n"


def test_items_are_the_objects_of_the_protocol() -> None:
    fields = {"channel": "a", "time": 1.5, "content_type": "image/png", "data_base64": "/w=="}
    assert to_json(Message.from_json(fields)) == {"kept": False, **fields}
    full = {
        "id": "e-2",
        "prev": "e-1",
        "event": "x",
        "from": "bob",
        "reply_to": "$reply/x",
        "channel": "a",
        "time": 1.5,
    }
    full |= {"content_type": "application/json", "data": None}
    assert to_json(Message.from_json(full)) == full
    gap = {"type": "gap", "topic": "a", "from": "e-1", "to": "e-5", "reason": "evicted"}
    assert to_json(Gap("a", "e-1", "e-5", "evicted")) == gap
    assert to_json(End("a")) == {"type": "end", "channel": "a"}

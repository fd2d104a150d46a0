"""Malicious messages: data that tries to forge other messages or control information on some wire."""

import json
import re
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from pushd.core.errors import Refusal
from pushd.core.message import Message
from pushd.core.names import check_publishable
from tests.build import message

some = settings(max_examples=40)
"""Fewer examples than usual, since they are large; `make fuzz` tries more."""

BOUNDARY = b"pushd0123"

SCRAPS = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x0b", b"\x1c", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf"),
    *(b"\0", b"\xff", b"\x1b[2J", b"\xc3", b"\\", b"\\n", b"\\x0a", b'"', b"'", b"{", b"[", b"1", b" ", b","),
    *(b"/", b";"),
    *(b"id: E-9", b"data: x", b"event: gap", b"retry: 1", b":", b"id", b"E-9"),
    *(b"--", BOUNDARY, b"--" + BOUNDARY, b"--" + BOUNDARY + b"--", b"Content-Type: text/html", b"Content-Length: 0"),
    *(b'","id":"E-9', b'{"type":"end","channel":"a"}', b'"a"', b"null", b'{"id":"E-9"}'),
    *(b"MSG a E-9 x", b"GAP a E-1 E-9 slow", b"END a", b"+OK", b"-ERR fault x"),
    *(b"0\r\n\r\n", b"1\r\nx\r\n", b"\x81\x01x"),
)
"""Fragments with a meaning on some wire."""

DATA = st.lists(st.sampled_from(SCRAPS) | st.binary(max_size=4), max_size=6).map(b"".join)
WORDS = DATA.map(lambda data: data.decode("utf-8", "ignore")) | st.text(max_size=4)


def _mostly(valid: st.SearchStrategy[Any], arbitrary: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of mostly valid values, and occasionally values that may be refused."""
    return st.integers(0, 7).flatmap(lambda number: arbitrary if number == 7 else valid)


_NAMES = _mostly(st.sampled_from(["a", "ü/b", "--" + BOUNDARY.decode(), 'a"b', "E-9", "a:b=c;d", "{}", "id:"]), WORDS)
_VALID_TYPES = st.sampled_from(
    [
        *("text/plain", "text/html; charset=utf-8", "image/png", "IMAGE/jpeg", "application/octet-stream"),
        f'a/b; c="--{BOUNDARY.decode()}"',
    ]
)
_TYPES = _mostly(_VALID_TYPES, WORDS | st.just("application/json"))
_TEXTS = DATA.map(lambda data: data.decode("utf-8", "replace").encode())
_VALUES = st.sampled_from([None, True, 1, -0.5]) | WORDS
_BLANKS = st.sampled_from(["", " ", "\n", "\r", "\r\n"])
_JSONS = st.builds(
    lambda value, blank, is_ascii: f"{blank}[{json.dumps(value, ensure_ascii=is_ascii)},{blank}1]{blank}".encode(),
    *(_VALUES, _BLANKS, st.booleans()),
)
_BODIES = (
    st.tuples(DATA | _TEXTS | st.binary(max_size=300), st.none())
    | st.tuples(DATA | _TEXTS, _TYPES)
    | st.tuples(_JSONS, st.just("application/json"))
)
_EVENTS = _mostly(st.none() | WORDS.map(lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text)), WORDS)


def accepted(published: list[tuple[str, tuple[bytes, str | None], str | None]]) -> list[Message]:
    """Return messages of the channels, data with content types, and event types that are not refused."""
    messages: list[Message] = []
    for channel, (data, content_type), event in published:
        try:
            name = check_publishable(channel)
            messages.append(message(len(messages) + 1, name, data, content_type=content_type, event=event))
        except Refusal:
            continue
    return messages


MESSAGES = st.lists(st.tuples(_NAMES, _BODIES, _EVENTS), min_size=1, max_size=4).map(accepted)
"""Messages with sequences from 1, as the daemon would have accepted them."""

"""Events of Pushlet in each format."""

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Message, draft
from pushd.dialects.pushlet.events import WIRES

_SCRIPT = re.compile(rb"<script>parent\.push\(([^<]*)\)</script>\n")
_TEXT = st.text(max_size=40) | st.text(alphabet="<>&\"'\\/!-\n\r\u2028ser cript", max_size=40)
_JSON = st.dictionaries(
    _TEXT | st.sampled_from(["p_event", "p_subject", "data"]), _TEXT | st.integers(-9, 9) | st.none()
)


def message(data=b"x", kind=None, channel="a/b"):
    made = draft(channel, data, kind)
    return Message("E", 7, None, channel, 0.0, made.data, made.content_type, made.encoding)


def parsed(kind, body):
    """Return the events of a body, as pairs of names and values."""
    if kind == "json":
        return [json.loads(body)]
    if kind == "js":
        match = _SCRIPT.fullmatch(body)
        assert match is not None, body
        words = json.loads(b"[%b]" % match[1])
        return [dict(zip(words[::2], words[1::2], strict=True))]
    return [dict(each.attrib) for each in ElementTree.fromstring(b"<p>%b</p>" % body)]


@given(st.tuples(_JSON.map(json.dumps), st.just("application/json")) | st.tuples(_TEXT, st.none()))
def test_no_data_forges_an_event(published):
    text, kind = published
    for name, wire in WIRES.items():
        (event,) = parsed(name, wire.message(message(text.encode("utf-8", "surrogatepass"), kind)))
        assert (event["p_event"], event["p_subject"], event["p_pushd_id"]) == ("data", "/a/b", "E-7")
        assert all(isinstance(value, str) for value in event.values())


@pytest.mark.parametrize("kind", WIRES)
def test_messages_of_the_channel_of_gaps_are_not_delivered(kind):
    wire = WIRES[kind]
    assert wire.message(message(channel="pushd/gap")) == b""
    assert wire.document([b"", wire.event("hb"), b""]) == wire.document([wire.event("hb")])


@pytest.mark.parametrize("kind", ["xml", "xml-strict"])
def test_the_java_client_reads_a_backslash_at_the_end(kind):
    """Its parser skips the character after a backslash, even the quote at the end of the value."""
    encoded = WIRES[kind].message(message(b"a\\"))
    assert b"\\" not in encoded
    assert parsed(kind, encoded)[0]["data"] == "a\\"

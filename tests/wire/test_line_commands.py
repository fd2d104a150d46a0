"""Commands and replies of TCP lines: any input is parsed or refused, and every reply consists of lines."""

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.command import (
    Acknowledged,
    Authenticated,
    FormatSet,
    Goodbye,
    HistoryResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Replied,
    Reply,
    RequestRefused,
    SendRequest,
    Subscribe,
)
from pushd.core.cursor import EVERYTHING, NOW
from pushd.core.errors import (
    BadChannel,
    BadCommand,
    BadEscape,
    BadUtf8,
    Forbidden,
    LineTooLong,
    NoReply,
    NotGranted,
    Refusal,
    UnknownCommand,
)
from pushd.core.message import Message, draft
from pushd.core.outbox import Policy
from pushd.wire.line_commands import (
    CommandLimits,
    encode_refusal,
    encode_reply,
    greeting,
    is_publish,
    parse,
    parse_publish,
)
from pushd.wire.text_lines import TextLines, escape
from tests.wire.malicious import DATA, MESSAGES, WORDS, some
from tests.wire.readers import lines_of, plain

LIMITS = CommandLimits(data=1000, event=255, topics=10)
PUBLISHING = [b"PUB", b"PUBJ", b"Pub", b"PUBX"]
VERBS = [b"SUB", b"UNSUB", b"HIST", b"STAT", b"FORMAT", b"AUTH", b"PING", b"HELP", b"QUIT", *PUBLISHING]
ARGUMENTS = [
    *(b"a", b"a/*,b", b"since=all", b"since=last:2", b"slow=drop", b"json", b"10", b"\\n", b"\\x41", b"\\x", b"x"),
    *(b'{"channel":"a","data":[1]}', b'{"channel":"a","data_base64":"AA=="}', b"\xc3\xa9", b"\xff", b"\r", b"$sys"),
]


def lines(verbs: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy of lines as the transport passes them: without LF."""
    rest = st.lists(st.sampled_from(ARGUMENTS) | DATA, max_size=4)
    return st.builds(lambda verb, words: b" ".join([verb, *words]).replace(b"\n", b""), verbs, rest)


@some
@given(lines(st.sampled_from(VERBS) | DATA))
def test_any_line_is_parsed_or_refused_in_one_line(line: bytes) -> None:
    try:
        command = parse(line, LIMITS)
    except Refusal as refusal:
        (reply,) = lines_of(encode_refusal(refusal))
        assert re.fullmatch(r"-ERR [a-z0-9-]+ [^\r\n]+", reply)
    else:
        if isinstance(command, Ping):
            assert len(lines_of(encode_reply(Pong(command.token), TextLines()))) == 1


@some
@given(lines(st.sampled_from(PUBLISHING)))
def test_publish_lines_are_parsed_the_same_by_both_parsers(line: bytes) -> None:
    """Publish commands also have a faster parser of their own."""
    assert _read(parse_publish, line) == _read(lambda *sent: parse(*sent).draft, line)  # type: ignore[union-attr]


def _read(parser, line):
    try:
        read = parser(line, LIMITS)
    except Refusal as refusal:
        return type(refusal), str(refusal)
    return [getattr(read, name) for name in read.__struct_fields__]


@some
@given(st.sampled_from([b"PUB", b"pub", b"Pub"]), DATA)
def test_any_data_is_published_unchanged(verb: bytes, data: bytes) -> None:
    for line in (
        verb + b" a/b " + escape(data),
        verb + b'J {"channel":"a/b","data_base64":"' + base64.b64encode(data) + b'"}',
    ):
        assert is_publish(line)
        draft = parse_publish(line, LIMITS)
        assert (draft.channel, draft.data) == ("a/b", data)


@some
@given(WORDS, st.text(max_size=20))
def test_any_refusal_text_is_one_line_and_round_trips(text: str, other: str) -> None:
    for sentence in (text, other):
        reply = encode_refusal(LineTooLong(sentence.encode("utf-8", "replace").decode()))
        (line,) = lines_of(reply)
        assert plain(line.removeprefix(f"-ERR {LineTooLong.code} ")) == sentence.encode("utf-8", "replace")


@some
@given(MESSAGES)
def test_history_reply_has_one_line_per_message_and_a_final_line(messages: list[Message]) -> None:
    lines = lines_of(encode_reply(HistoryResult(("a",), tuple(messages)), TextLines()))
    assert [line.split(" ")[2] for line in lines[:-1]] == [each.id for each in messages]
    assert lines[-1] == f"+OK HIST {len(messages)}"


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Published("E-7", 3), b"+OK E-7 3\r\n"),
        (Published("E-7", 0, True), b"+OK E-7 0 local\r\n"),
        (FormatSet("json"), b"+OK FORMAT json\r\n"),
        (Pong(""), b"PONG\r\n"),
        (Pong("x y"), b"PONG x y\r\n"),
        (Replied(2, "a", draft("$reply/x", b"a\nb\xff")), b"REP 2 a\\nb\\xff\r\n"),
        (Replied(1, "a", draft("$reply/x", b"")), b"REP 1 \r\n"),
        (RequestRefused(2, NoReply("too\nlate")), b"-ERR no-reply request 2: too\\nlate\r\n"),
        (Goodbye(), b"+OK bye\r\n"),
        (Acknowledged(), b"+OK no token is needed\r\n"),
        (Authenticated("alice", ()), b"+OK AUTH alice\r\n"),
        (
            Authenticated("a\nb", (NotGranted("not a"), NotGranted("not b"))),
            b"+OK AUTH a\\nb\r\n-ERR forbidden not a\r\n-ERR forbidden not b\r\n",
        ),
    ],
)
def test_replies_are_encoded_as_documented(outcome: Reply, line: bytes) -> None:
    assert encode_reply(outcome, TextLines()) == line


def test_commands_are_parsed_as_documented() -> None:
    assert parse(b"sub a,b/* since=all slow=drop", LIMITS) == Subscribe(("a", "b/*"), EVERYTHING, Policy.DROP)
    assert parse(b"SUB  a", LIMITS) == Subscribe(("a",), NOW, None)
    assert parse(b"SUB a/* responder=1 begin=0", LIMITS) == Subscribe(("a/*",), NOW, None, responder=True)
    request = parse(b"req a  two blanks ", LIMITS)
    assert isinstance(request, SendRequest)
    assert (request.draft.channel, request.draft.data, request.timeout) == ("a", b" two blanks ", 10)
    command = parse(b"PUB a  two blanks ", LIMITS)
    assert isinstance(command, PublishMessage)
    assert command.draft.data == b" two blanks "


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (b"", UnknownCommand),
        (b"SUB\ta", UnknownCommand),
        (b"PUB", BadChannel),
        (b"STAT \xff", BadUtf8),
        (b"REQ", BadChannel),
        (b"REQ $reply/x y", Forbidden),
        (b"REQ a \\q", BadEscape),
        (b"SUB a responder=2", BadCommand),
    ],
)
def test_invalid_input_is_refused_with_its_class(line: bytes, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        parse(line, LIMITS)


@pytest.mark.parametrize(("data", "size"), [(16, 12 << 10), (1 << 20, (2 << 20) + (4 << 10))])
def test_command_has_room_for_a_message_and_for_a_token(data: int, size: int) -> None:
    assert CommandLimits(data, 1, 1).size == size


def test_greeting_is_one_line_of_json() -> None:
    (line,) = lines_of(greeting("pushd", "1.0", 5))
    assert json.loads(line.removeprefix("INFO ")) == {"server": "pushd", "version": "1.0", "max_payload": 5, "proto": 1}

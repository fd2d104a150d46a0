"""Commands and replies of TCP lines (docs/protocol.md, "TCP lines").

A command is a case-insensitive verb and its arguments, separated by single spaces. The text of ``PUB`` is the whole
rest of the line after the channel.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pushd.core.command import (
    Acknowledged,
    Authenticate,
    Authenticated,
    Command,
    CommandList,
    EnterChannel,
    Entered,
    FormatSet,
    Goodbye,
    HeartbeatResult,
    Help,
    HistoryResult,
    LeaveChannel,
    Left,
    ListMembers,
    MembersResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Quit,
    ReadHistory,
    ReadStatus,
    Replied,
    Reply,
    RequestRefused,
    SendHeartbeat,
    SendRequest,
    SetFormat,
    StatusResult,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from pushd.core.cursor import NOW, Since, parse_since
from pushd.core.delivery import Wire
from pushd.core.errors import BadCommand, BadUtf8, HttpOnLines, Refusal, UnknownCommand
from pushd.core.identity import MAX_TOKEN_BYTES
from pushd.core.message import Draft, draft
from pushd.core.names import check_channel, check_publishable, parse_topics
from pushd.core.open_requests import DEFAULT_SECONDS
from pushd.core.outbox import Policy, parse_policy
from pushd.core.presence import MemberPage, as_member, check_member_id, check_meta
from pushd.core.replay import ChannelInfo
from pushd.wire.json_messages import encode
from pushd.wire.publication import check_request, check_size, parse_publication
from pushd.wire.text_lines import LINE_END, escape, unescape

_OVERHEAD = 4096
"""Bytes of a command besides the data of a message: the verb, the channel, types and punctuation."""
_DEFAULT_HISTORY = 10
_MAX_HISTORY = 1000
_MAX_MEMBERS = 1000
"""The most members in one reply."""
_REQUEST_LINE = re.compile(rb" HTTP/[0-9]+(?:\.[0-9]+)?\Z")


class CommandLimits(NamedTuple):
    """The largest command that is accepted."""

    data: int
    """Bytes of message data."""
    event: int
    """Bytes of an event type."""
    topics: int
    """Number of topics in one command."""

    @property
    def size(self) -> int:
        """Bytes of a command: enough for a token, and for a message in base64 or with half of its bytes escaped."""
        return max(2 * self.data, MAX_TOKEN_BYTES) + _OVERHEAD


def parse(line: bytes, limits: CommandLimits) -> Command:
    """Return the command in a line.

    :param line: without its line end.
    :raises HttpOnLines: when the line is the request line of HTTP (RFC 9112, section 3).
    :raises UnknownCommand: when the verb is unknown.
    :raises BadUtf8: when the line is not valid UTF-8.
    :raises Refusal: when the arguments are invalid, in a subclass for each reason.
    """
    verb, _, rest = line.partition(b" ")
    parser = _PARSERS.get(verb.upper())
    if parser is None:
        if _REQUEST_LINE.search(line):
            raise HttpOnLines("this listener accepts line commands, not HTTP requests")
        raise UnknownCommand("unknown command; HELP lists the commands")
    try:
        return parser(rest.decode("utf-8"), limits)
    except UnicodeDecodeError:
        raise BadUtf8("line is not valid UTF-8") from None


def parse_publish(line: bytes, limits: CommandLimits) -> Draft:
    """Return the message in a line for which `is_publish` is true.

    :raises Refusal: see `parse`.
    """
    verb, _, rest = line.partition(b" ")
    if verb.upper() != b"PUB":
        command = parse(line, limits)
        assert isinstance(command, PublishMessage)
        return command.draft
    # The most frequent command: avoid decoding the data to a string and encoding it again.
    name, _, text = rest.partition(b" ")
    try:
        channel = name.decode("utf-8")
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise BadUtf8("line is not valid UTF-8") from None
    data = unescape(text)
    check_size(len(data), limits.data)
    return draft(check_publishable(channel), data)


def is_publish(line: bytes) -> bool:
    """Return whether a line is a publish command. Such a line may also be an unknown command that begins with PUB."""
    return line[:3].upper() == b"PUB"


def greeting(server: str, version: str, max_payload: int) -> bytes:
    """Return ``INFO {json}``, the first line that the server sends.

    :param max_payload: bytes of message data that a publish may have.
    """
    info = {"server": server, "version": version, "max_payload": max_payload, "proto": 1}
    return b"INFO " + encode(info) + LINE_END


def encode_reply(reply: Reply, wire: Wire) -> bytes:
    """Return the lines of the reply to a command.

    :param wire: encodes the messages of a history reply, and the begin object.
    """
    match reply:
        case Published(id, subscribers, is_local):
            return encode_receipt(id, subscribers, is_local)
        case Replied(number, _, answer):
            return b"REP %d " % number + escape(answer.data) + LINE_END
        case RequestRefused(number, refusal):
            return _refusal_line(refusal, f"request {number}: ")
        case Subscribed(topics, gap, cursor, connection, begin):
            line = f"+OK SUB {','.join(topics)} cursor={cursor}{f' gap={gap}' if gap else ''}\r\n".encode()
            return line + wire.begin(cursor, connection) if begin else line
        case Unsubscribed(topics):
            return f"+OK UNSUB {','.join(topics)}\r\n".encode()
        case HistoryResult(topics, messages):
            lines = b"".join([wire.message(message) for message in messages])
            return lines + f"+OK HIST {len(messages)}\r\n".encode()
        case StatusResult(info, subscribers):
            return _status_lines(info, subscribers) + b"+OK STAT\r\n"
        case Entered(channel, id):
            return f"+OK ENTER {channel} {id}\r\n".encode()
        case Left(channel, _):
            return f"+OK LEAVE {channel}\r\n".encode()
        case MembersResult(_, page):
            return _member_lines(page)
        case HeartbeatResult(id, seen):
            return f"+OK HB {id} {'-' if seen.lag is None else seen.lag}\r\n".encode()
        case FormatSet(name):
            return f"+OK FORMAT {name}\r\n".encode()
        case Pong(token):
            return b"PONG " + str(token).encode() + LINE_END if token else b"PONG\r\n"
        case CommandList():
            return _HELP
        case Goodbye():
            return b"+OK bye\r\n"
        case Acknowledged():
            return b"+OK no token is needed\r\n"
        case Authenticated(subject, lost):
            line = b"+OK AUTH " + escape(subject.encode()) + LINE_END
            return line + b"".join([encode_refusal(each) for each in lost])


def encode_receipt(id: str, subscribers: int, is_local: bool) -> bytes:
    """Return the reply to a publish, ``+OK ID SUBSCRIBERS``, with ``-`` as the id of an ephemeral message."""
    return b"+OK %b %d%b\r\n" % ((id or "-").encode("ascii"), subscribers, b" local" if is_local else b"")


def encode_refusal(refusal: Refusal) -> bytes:
    """Return ``-ERR CODE SENTENCE``."""
    return _refusal_line(refusal, "")


def _refusal_line(refusal: Refusal, about: str) -> bytes:
    return f"-ERR {refusal.code} {about}".encode() + escape(str(refusal).encode()) + LINE_END


def _subscribe(rest: str, limits: CommandLimits) -> Command:
    usage = "SUB TOPICS [since=...] [slow=...] [begin=1] [responder=1] [presence=self] [presence_id=ID]"
    topics, *options = _words(rest, usage)
    since: Since = NOW
    slow: Policy | None = None
    begin = responder = False
    member: dict[str, str | None] = {"presence": None, "presence_id": None}
    for option in options:
        name, equals, value = option.partition("=")
        if equals and name == "since":
            since = parse_since(value)
        elif equals and name == "slow":
            slow = parse_policy(value)
        elif equals and name == "begin" and value in ("0", "1"):
            begin = value == "1"
        elif equals and name == "responder" and value in ("0", "1"):
            responder = value == "1"
        elif equals and name in member:
            member[name] = value
        else:
            raise BadCommand(f"unknown option; usage: {usage}")
    return Subscribe(parse_topics(topics, limits.topics), since, slow, begin, responder, as_member(**member))


def _unsubscribe(rest: str, limits: CommandLimits) -> Command:
    return Unsubscribe(parse_topics(_one(rest, "UNSUB TOPICS"), limits.topics))


def _publish(rest: str, limits: CommandLimits) -> Command:
    return PublishMessage(parse_publish(b"PUB " + rest.encode("utf-8"), limits))


def _publish_json(rest: str, limits: CommandLimits) -> Command:
    return PublishMessage(parse_publication(rest.encode("utf-8"), limits.data, limits.event, has_echo=True))


def _request(rest: str, limits: CommandLimits) -> Command:
    message = parse_publish(b"PUB " + rest.encode("utf-8"), limits)
    return SendRequest(check_request(message), DEFAULT_SECONDS)


def _history(rest: str, limits: CommandLimits) -> Command:
    topics, *count = _words(rest, "HIST TOPICS [N]")
    if len(count) > 1 or not re.fullmatch(r"[0-9]{1,9}", count[0] if count else "1"):
        raise BadCommand("usage: HIST TOPICS [N]")
    limit = int(count[0]) if count else _DEFAULT_HISTORY
    if not 1 <= limit <= _MAX_HISTORY:
        raise BadCommand(f"message count of HIST must be between 1 and {_MAX_HISTORY} (got {limit})")
    return ReadHistory(parse_topics(topics, limits.topics), limit)


def _status(rest: str, limits: CommandLimits) -> Command:
    return ReadStatus(check_channel(_one(rest, "STAT CH")))


def _enter(rest: str, limits: CommandLimits) -> Command:
    name, _, rest = rest.strip(" ").partition(" ")
    if not name:
        raise BadCommand("usage: ENTER CH [id=ID] [JSON]")
    id: str | None = None
    rest = rest.lstrip(" ")
    if rest.startswith("id="):
        id, _, rest = rest.removeprefix("id=").partition(" ")
        check_member_id(id)
    meta = rest.strip(" ")
    return EnterChannel(check_channel(name), id, check_meta(meta.encode("utf-8")) if meta else None)


def _leave(rest: str, limits: CommandLimits) -> Command:
    return LeaveChannel(check_channel(_one(rest, "LEAVE CH")))


def _list_members(rest: str, limits: CommandLimits) -> Command:
    channel, *options = _words(rest, "WHO CH [after=ID] [limit=N]")
    after, limit = "", _MAX_MEMBERS
    for option in options:
        name, _, value = option.partition("=")
        if name == "after":
            after = check_member_id(value)
        elif name == "limit" and re.fullmatch(r"[0-9]{1,9}", value) and 1 <= int(value) <= _MAX_MEMBERS:
            limit = int(value)
        else:
            raise BadCommand(f"usage: WHO CH [after=ID] [limit=N], with N from 1 to {_MAX_MEMBERS}")
    return ListMembers(check_channel(channel), after, limit)


def _heartbeat(rest: str, limits: CommandLimits) -> Command:
    id, *sent = _words(rest, "HB ID [UNIX_MS]")
    if len(sent) > 1 or not re.fullmatch(r"[0-9]{1,15}", sent[0] if sent else "0"):
        raise BadCommand("usage: HB ID [UNIX_MS]")
    return SendHeartbeat(check_member_id(id), int(sent[0]) if sent else None)


def _format(rest: str, limits: CommandLimits) -> Command:
    return SetFormat(_one(rest, "FORMAT text|json|raw").lower())


def _authenticate(rest: str, limits: CommandLimits) -> Command:
    return Authenticate(_one(rest, "AUTH TOKEN"))


def _ping(rest: str, limits: CommandLimits) -> Command:
    return Ping(rest)


def _help(rest: str, limits: CommandLimits) -> Command:
    return Help()


def _quit(rest: str, limits: CommandLimits) -> Command:
    return Quit()


_PARSERS: dict[bytes, Callable[[str, CommandLimits], Command]] = {
    b"SUB": _subscribe,
    b"UNSUB": _unsubscribe,
    b"PUB": _publish,
    b"PUBJ": _publish_json,
    b"REQ": _request,
    b"HIST": _history,
    b"STAT": _status,
    b"ENTER": _enter,
    b"LEAVE": _leave,
    b"WHO": _list_members,
    b"HB": _heartbeat,
    b"FORMAT": _format,
    b"AUTH": _authenticate,
    b"PING": _ping,
    b"HELP": _help,
    b"QUIT": _quit,
}

_HELP = """\
SUB TOPICS [since=ID|all|last:N|10m|UNIXTIME] [slow=disconnect|drop|latest] [begin=1] [responder=1] [presence=self]\r
UNSUB TOPICS\r
PUB CH TEXT\r
PUBJ {"channel":"CH","data":ANY}\r
REQ CH TEXT\r
HIST TOPICS [N]\r
STAT CH\r
ENTER CH [id=ID] [JSON]\r
LEAVE CH\r
WHO CH [after=ID] [limit=N]\r
HB ID [UNIX_MS]\r
FORMAT text|json|raw\r
AUTH TOKEN\r
PING [X]\r
HELP\r
QUIT\r
+OK HELP\r
""".encode("ascii")


def _words(rest: str, usage: str) -> list[str]:
    words = [word for word in rest.split(" ") if word]
    if not words:
        raise BadCommand(f"usage: {usage}")
    return words


def _one(rest: str, usage: str) -> str:
    words = _words(rest, usage)
    if len(words) > 1:
        raise BadCommand(f"usage: {usage}")
    return words[0]


def _member_lines(page: MemberPage) -> bytes:
    lines = [
        f"{member.id} {member.connections} {int(member.since)} ".encode() + encode(msgspec.Raw(member.meta)) + LINE_END
        for member in page.members
    ]
    rest = "" if page.next is None else f" next={page.next}"
    return b"".join(lines) + f"+OK WHO {page.total}{rest}\r\n".encode()


def _status_lines(info: ChannelInfo, subscribers: dict[str, int]) -> bytes:
    facts = info.facts(sum(subscribers.values())) | {"ended": "yes" if info.ended else "no"}
    return "".join(f"{name} {'-' if value is None else value}\r\n" for name, value in facts.items()).encode()

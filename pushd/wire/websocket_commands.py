"""Commands and replies of the WebSocket subprotocol ``pushd.v1`` (docs/protocol.md, "WebSocket").

A command is a JSON object, and one of its keys names it. The reply repeats its ``ref``, which may be any JSON value.
"""

from typing import Any, Final

import msgspec

from pushd.core.command import (
    Acknowledged,
    Authenticate,
    Authenticated,
    Command,
    EnterChannel,
    Entered,
    HeartbeatResult,
    LeaveChannel,
    Left,
    ListMembers,
    MembersResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Replied,
    Reply,
    RequestRefused,
    SendHeartbeat,
    SendRequest,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from pushd.core.cursor import NOW, Since, parse_since
from pushd.core.errors import BadCommand, BadParameter, Refusal, UnknownCommand
from pushd.core.json_input import decode
from pushd.core.names import check_channel, parse_topics
from pushd.core.open_requests import DEFAULT_SECONDS, check_timeout
from pushd.core.outbox import parse_policy
from pushd.core.presence import as_member, check_client_time, check_member_id, check_meta
from pushd.wire.json_messages import data_fields, encode, refusal_object
from pushd.wire.line_commands import CommandLimits
from pushd.wire.presence import page_facts
from pushd.wire.publication import EchoPublication, Publication, check_request, to_draft
from pushd.wire.websocket_frames import TEXT, frame

SUBPROTOCOL: Final = "pushd.v1"
_NULL: Final = msgspec.Raw(b"null")
_VERBS: Final = (
    "subscribe",
    "unsubscribe",
    "publish",
    "request",
    "enter",
    "leave",
    "members",
    "heartbeat",
    "ping",
    "auth",
)
_MAX_MEMBERS: Final = 1000
"""The most members in one reply."""
_DEFAULT_MEMBERS: Final = 100


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    subscribe: str
    since: str | float | None = None
    slow: str | None = None
    responder: bool = False
    presence: str | None = None
    presence_id: str | None = None
    ref: msgspec.Raw = _NULL


class _Unsubscribe(msgspec.Struct, forbid_unknown_fields=True):
    unsubscribe: str
    ref: msgspec.Raw = _NULL


class _Publish(EchoPublication):
    channel: str = msgspec.field(name="publish")
    ref: msgspec.Raw = _NULL


class _Request(Publication):
    channel: str = msgspec.field(name="request")
    timeout: float = DEFAULT_SECONDS
    ref: msgspec.Raw = _NULL


class _Enter(msgspec.Struct, forbid_unknown_fields=True):
    enter: str
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: str | None = None
    ref: msgspec.Raw = _NULL


class _Leave(msgspec.Struct, forbid_unknown_fields=True):
    leave: str
    ref: msgspec.Raw = _NULL


class _Members(msgspec.Struct, forbid_unknown_fields=True):
    members: str
    after: str | None = None
    limit: int = _DEFAULT_MEMBERS
    ref: msgspec.Raw = _NULL


class _Heartbeat(msgspec.Struct, forbid_unknown_fields=True):
    heartbeat: str
    ts: int | None = None
    ref: msgspec.Raw = _NULL


class _Ping(msgspec.Struct, forbid_unknown_fields=True):
    ping: msgspec.Raw
    ref: msgspec.Raw = _NULL


class _Auth(msgspec.Struct, forbid_unknown_fields=True):
    auth: str
    ref: msgspec.Raw = _NULL


_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "subscribe": msgspec.json.Decoder(_Subscribe),
    "unsubscribe": msgspec.json.Decoder(_Unsubscribe),
    "publish": msgspec.json.Decoder(_Publish),
    "enter": msgspec.json.Decoder(_Enter),
    "leave": msgspec.json.Decoder(_Leave),
    "members": msgspec.json.Decoder(_Members),
    "heartbeat": msgspec.json.Decoder(_Heartbeat),
    "request": msgspec.json.Decoder(_Request),
    "ping": msgspec.json.Decoder(_Ping),
    "auth": msgspec.json.Decoder(_Auth),
}


class CommandFrame:
    """A command that is not decoded yet. Its ``ref`` is known even if the rest is refused."""

    __slots__ = ("_text", "_verb", "ref")

    def __init__(self, text: bytes) -> None:
        """Find the ``ref`` and the key that names the command.

        :param text: the payload of a text frame.
        :raises BadJson: when it is not a JSON object.
        """
        keys = decode(_keys, text)
        self.ref: msgspec.Raw = keys.get("ref", _NULL)
        self._verb = next((verb for verb in _VERBS if verb in keys), None)
        self._text = text

    def command(self, limits: CommandLimits) -> Command:
        """Return the decoded command.

        :raises UnknownCommand: when no key names a command.
        :raises Refusal: when the rest is invalid, in a subclass for each reason.
        """
        if self._verb is None:
            raise UnknownCommand(f"unknown command; accepted are {', '.join(_VERBS)}")
        return _command(decode(_decoders[self._verb], self._text), limits)


def encode_reply(reply: Reply, ref: msgspec.Raw = _NULL) -> bytes:
    """Return a text frame with ``{"ref":...,"ok":true,...}``."""
    fields: dict[str, object] = {"ref": ref, "ok": True}
    match reply:
        case Published(id, subscribers, is_local):
            fields |= {"id": id or None, "subscribers": subscribers}
            if is_local:
                fields["local"] = True
        case Replied(_, channel, answer):
            fields["request"] = channel
            fields |= data_fields(answer)
        case RequestRefused(_, refusal):
            return encode_refusal(refusal, ref)
        case Subscribed(topics, _, cursor, connection):
            fields |= {"subscribe": ",".join(topics), "cursor": str(cursor), "connection": connection}
        case Unsubscribed(topics):
            fields["unsubscribe"] = ",".join(topics)
        case Entered(channel, id):
            fields |= {"enter": channel, "id": id}
        case Left(channel, id):
            fields |= {"leave": channel, "id": id}
        case MembersResult(channel, page, cursor):
            fields |= page_facts(channel, page, cursor)
        case HeartbeatResult(id, seen):
            fields |= {"heartbeat": id, "lag": seen.lag}
        case Pong(token):
            fields["pong"] = token
        case Acknowledged():
            fields["auth"] = "no token is needed"
        case Authenticated(subject, lost):
            fields["auth"] = subject
            return frame(TEXT, encode(fields)) + b"".join([encode_refusal(each) for each in lost])
    return frame(TEXT, encode(fields))


def encode_refusal(refusal: Refusal, ref: msgspec.Raw = _NULL) -> bytes:
    """Return a text frame with ``{"ref":...,"error":{...}}``."""
    return frame(TEXT, encode({"ref": ref, "error": refusal_object(refusal)}))


def _command(decoded: object, limits: CommandLimits) -> Command:
    match decoded:
        case _Subscribe(topics, since, slow, responder, presence, presence_id):
            policy = None if slow is None else parse_policy(slow)
            member = as_member(presence, presence_id)
            return Subscribe(
                parse_topics(topics, limits.topics), _since(since), policy, responder=responder, member=member
            )
        case _Unsubscribe(topics):
            return Unsubscribe(parse_topics(topics, limits.topics))
        case _Publish():
            return PublishMessage(to_draft(decoded, limits.data, limits.event))
        case _Enter(channel, meta, id):
            described = None if meta is msgspec.UNSET else check_meta(bytes(meta))
            return EnterChannel(check_channel(channel), None if id is None else check_member_id(id), described)
        case _Leave(channel):
            return LeaveChannel(check_channel(channel))
        case _Members(channel, after, limit):
            return _list_members(channel, after, limit)
        case _Heartbeat(id, sent):
            return SendHeartbeat(check_member_id(id), check_client_time(sent))
        case _Request(timeout=timeout):
            message = check_request(to_draft(decoded, limits.data, limits.event))
            return SendRequest(message, check_timeout(timeout))
        case _Ping(token):
            return Ping(token)
        case _Auth(token):
            return Authenticate(token)
    raise BadCommand("unknown command")


def _list_members(channel: str, after: str | None, limit: int) -> ListMembers:
    if not 1 <= limit <= _MAX_MEMBERS:
        raise BadParameter(f"limit must be a whole number from 1 to {_MAX_MEMBERS}")
    return ListMembers(check_channel(channel), "" if after is None else check_member_id(after), limit)


def _since(since: str | float | None) -> Since:
    if since is None:
        return NOW
    return parse_since(since if isinstance(since, str) else f"{since:f}")

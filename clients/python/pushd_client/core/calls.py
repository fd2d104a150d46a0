"""The calls of the API (docs/protocol.md, docs/presence.md). Their parameters are those of `Pushd`."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import Refused
from ..messages import Message
from ..publications import Publication
from ..results import Heartbeat, History, Member, Members, Receipt, Reply
from .address import quote_name, quote_topics, split_topics
from .call import Call, Repeat, ignore, read_json
from .encoding import BINARY, decode_body, encode_body, encode_json, encode_line
from .interface import HttpResponse
from .refusals import refusal_in_line

KEY_HEADER = "Idempotency-Key"
Outcome = Receipt | Refused
"""What became of one message."""


def new_key() -> str:
    """Return an Idempotency-Key: 128 random bits."""
    return uuid.uuid4().hex


def publish(message: Publication, key: str | None = None) -> Call[Receipt]:
    """Publish a message to one channel."""
    return _publish(quote_name(message.channel), message, key, lambda response: _receipt(read_json(response)))


def publish_to(channels: Iterable[str], message: Publication, key: str | None = None) -> Call[list[Outcome]]:
    """Publish a message to several channels."""
    names = split_topics(channels)
    path = ",".join(map(quote_name, names))
    # Without a comma the answer is one object.
    is_list = len(names) > 1

    def parse(response: HttpResponse) -> list[Outcome]:
        parts = read_json(response)
        return [_outcome(part) for part in (parts if is_list else [parts])]

    return _publish(path, message, key, parse)


def _publish(path: str, message: Publication, key: str | None, parse: Any) -> Call[Any]:
    body = encode_body(message.data, message.content_type)
    headers = {} if body.content_type is None else {"Content-Type": body.content_type}
    is_reply = message.channel.startswith("$reply/")
    if not message.keep or is_reply:
        if key is not None:
            raise ValueError("key must be omitted unless keep is true: the daemon remembers kept messages only")
    else:
        headers[KEY_HEADER] = key or new_key()
    query = {"event": message.event, "ttl": message.ttl, "end": message.end or None, "except": message.except_}
    return Call(
        "POST",
        f"/pub/{path}",
        parse,
        query | {"keep": 0 if message.keep is False else None},
        body.data,
        headers,
        Repeat.ALWAYS if KEY_HEADER in headers else Repeat.IF_NOT_DONE,
    )


def batch(lines: Sequence[bytes], key: str | None) -> Call[list[Outcome]]:
    """Publish messages that were encoded by `encode_line`.

    :param key: None if one of them is not kept.
    """

    def parse(response: HttpResponse) -> list[Outcome]:
        outcomes = [_outcome(json.loads(line)) for line in response.body.splitlines() if line.strip()]
        if len(outcomes) != len(lines):
            raise ValueError(f"answer must have {len(lines)} lines (got {len(outcomes)})")
        return outcomes

    headers = {"Content-Type": "application/x-ndjson"} | ({} if key is None else {KEY_HEADER: key})
    repeat = Repeat.IF_NOT_DONE if key is None else Repeat.ALWAYS
    return Call("POST", "/pub", parse, {}, b"\n".join(lines), headers, repeat)


def encode_batch(messages: Iterable[Publication]) -> list[bytes]:
    """Return the lines of a batch."""
    return [encode_line(message) for message in messages]


def delete(channel: str) -> Call[None]:
    """Delete a channel."""
    return Call("DELETE", f"/pub/{quote_name(channel)}", ignore, repeat=Repeat.IF_NOT_DONE)


def history(topics: str | Iterable[str], since: object, limit: int | None) -> Call[History]:
    """Read stored messages."""

    def parse(response: HttpResponse) -> History:
        messages = [Message.from_json(fields) for fields in read_json(response)]
        return History(messages, response.headers["pushd-cursor"], response.headers.get("pushd-gap"))

    return Call("GET", f"/history/{quote_topics(topics)}", parse, {"since": since, "limit": limit})


def cursor(topics: str | Iterable[str]) -> Call[str]:
    """Read the cursor of the present."""
    path = f"/cursor/{quote_topics(topics)}" if topics else "/cursor"
    return Call("GET", path, lambda response: str(read_json(response)["cursor"]))


def request(message: Publication, timeout: float) -> Call[Reply]:
    """Publish a request."""
    body = encode_body(message.data, message.content_type)
    headers = {} if body.content_type is None else {"Content-Type": body.content_type}

    def parse(response: HttpResponse) -> Reply:
        content_type = response.headers.get("content-type", BINARY)
        return Reply(decode_body(response.body, content_type), content_type)

    return Call(
        "POST",
        f"/request/{quote_name(message.channel)}",
        parse,
        {"timeout": timeout, "event": message.event},
        body.data,
        headers,
        Repeat.IF_NOT_DONE,
        timeout,
    )


def reply(message: Message, data: object, content_type: str | None) -> Call[None]:
    """Answer a request.

    :raises ValueError: when the message is no request.
    """
    if message.reply_to is None:
        raise ValueError("message must be a request: it has no reply_to")
    return _publish(quote_name(message.reply_to), Publication(message.reply_to, data, content_type), None, ignore)


def presence(channel: str, limit: int | None, after: str | None) -> Call[Members]:
    """Read a page of members."""

    def parse(response: HttpResponse) -> Members:
        page = read_json(response)
        members = [Member(each["id"], each["since"], each["connections"], each["meta"]) for each in page["members"]]
        return Members(page["channel"], page["count"], page["cursor"], members, page["next"])

    # A limit says that the whole path is the name of the channel.
    return Call(
        "GET", f"/presence/{quote_name(channel)}", parse, {"limit": 100 if limit is None else limit, "after": after}
    )


def enter(channel: str, id: str, meta: object, ttl: float) -> Call[None]:
    """Begin or renew a lease; `meta` None: as it is."""
    body = None if meta is None else encode_json(meta).encode("utf-8")
    return Call("PUT", _member(channel, id), ignore, {"ttl": ttl}, body)


def leave(channel: str, id: str) -> Call[None]:
    """End a lease."""
    return Call("DELETE", _member(channel, id), ignore, repeat=Repeat.IF_NOT_DONE)


def heartbeat(id: str, timestamp: float | None) -> Call[Heartbeat]:
    """Send a heartbeat."""
    milliseconds = None if timestamp is None else int(timestamp * 1000)
    return Call("POST", f"/heartbeat/{quote_name(id)}", _heartbeat, {"ts": milliseconds})


def last_heartbeat(id: str) -> Call[Heartbeat]:
    """Read the last heartbeat of an id."""
    return Call("GET", f"/heartbeat/{quote_name(id)}", _heartbeat)


def other(
    method: str, path: str, query: Mapping[str, object] | None, body: object, content_type: str | None
) -> Call[Any]:
    """Send any other request, and read JSON if the answer has any."""
    encoded = None if body is None else encode_body(body, content_type)
    headers = {} if encoded is None or encoded.content_type is None else {"Content-Type": encoded.content_type}
    data = None if encoded is None else encoded.data
    repeat = Repeat.ALWAYS if method in ("GET", "HEAD", "PUT") else Repeat.IF_NOT_DONE
    return Call(method, path, _json_or_text, query or {}, data, headers, repeat)


def _json_or_text(response: HttpResponse) -> Any:
    if not response.body:
        return None
    return decode_body(response.body, response.headers.get("content-type", BINARY))


def _member(channel: str, id: str) -> str:
    return f"/presence/{quote_name(channel)}/{quote_name(id)}"


def _heartbeat(response: HttpResponse) -> Heartbeat:
    fields = read_json(response)
    return Heartbeat(fields["id"], fields["online"], fields["last"], fields["lag"])


def _receipt(fields: Mapping[str, Any]) -> Receipt:
    return Receipt(fields["channel"], fields["id"] or None, fields["subscribers"], fields.get("local", False))


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    return refusal_in_line(fields) or _receipt(fields)

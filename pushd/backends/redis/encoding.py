"""The encoding of a message in Redis, the same in streams and on pub/sub, so that it is made once.

``m EPOCH SEQ PREV MILLISECONDS`` and LF, which the script prepends, then a MessagePack array of the published fields.
An ephemeral message is ``e EPOCH SEQ MILLISECONDS NUMBER`` and LF, then the same array; no other has the same number. A
deletion is ``x EPOCH COUNT`` and LF, then the channel.
"""

import re
from typing import Final, NamedTuple

import msgspec

from pushd.core.message import Draft, Exclusion, Message, unkept_message

END, MARK, EPHEMERAL = 1, 2, 3
"""Kinds of messages for the script: the last one of a channel, a mere end mark, and an ephemeral one."""


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """The published fields. More elements are ignored, so a later pushd can append some while older nodes run."""

    channel: str
    data: bytes
    content_type: str
    form: str
    event: str | None
    end: bool
    sender: str | None = None
    """Omitted if there is none, so that it costs nothing then."""
    reply_to: str | None = None
    """Omitted, too."""
    exclude: str | None = None
    """Only on pub/sub: the id of a connection that does not receive it, a space, and its owner; see `Exclusion`."""


class Published(NamedTuple):
    """A message as it is published on pub/sub."""

    message: Message
    exclude: Exclusion | None
    """The connection to which it is not delivered."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode
_FOREVER: Final = 0
_EXCLUSION: Final = re.compile(r"[0-9a-f]{32} [A-Za-z0-9_-]{1,24}")


def encode_draft(draft: Draft, subscribers: int) -> tuple[object, ...]:
    """Return the arguments of the script for one message, with the number of its subscribers at this node."""
    fields = (draft.channel, draft.data, draft.content_type, draft.encoding, draft.event, draft.end)
    if draft.reply_to is not None:
        body = _encode((*fields, draft.sender, draft.reply_to))
    else:
        body = _encode(fields if draft.sender is None else (*fields, draft.sender))
    live = b""
    if draft.exclude is not None:
        live = _encode((*fields, draft.sender, draft.reply_to, " ".join(draft.exclude)))
    size = len(draft.data) + len(draft.channel) + len(draft.content_type) + len(draft.event or "")
    size += len((draft.sender or "").encode())
    ttl = _FOREVER if draft.ttl is None else max(round(draft.ttl * 1000), 1)
    kind = (0 if draft.keep else EPHEMERAL) if not draft.end else END if draft.data else MARK
    return (draft.channel, _as_text(body), f"{len(draft.data)} {size}", ttl, kind, subscribers, _as_text(live))


def _as_text(data: bytes) -> msgspec.Raw:
    """Encode bytes as MessagePack text: the parser in Redis, older than 2013, has no type for bytes."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def accepted(draft: Draft, epoch: str, seq: int, prev: int, milliseconds: int) -> Message:
    """Return the accepted message of a draft."""
    if not draft.keep:
        return unkept_message(draft, epoch, seq, milliseconds / 1000)
    return Message(
        epoch=epoch,
        seq=seq,
        prev=f"{epoch}-{prev}" if prev else None,
        channel=draft.channel,
        time=milliseconds / 1000,
        data=draft.data,
        content_type=draft.content_type,
        encoding=draft.encoding,
        event=draft.event,
        end=draft.end,
        sender=draft.sender,
    )


def decode_message(raw: bytes) -> Message:
    """Decode a stored message.

    :raises ValueError: when it is malformed, so another client publishes under this prefix.
    """
    return decode_published(raw).message


def decode_published(raw: bytes) -> Published:
    """Decode a message that was published on pub/sub.

    :raises ValueError: when it is malformed, so another client publishes under this prefix.
    """
    head, _, rest = raw.partition(b"\n")
    match head.split(b" "):
        case [b"m", epoch_raw, seq, prev, milliseconds]:
            is_kept = True
        case [b"e", epoch_raw, seq, milliseconds, _]:
            is_kept, prev = False, b"0"
        case _:
            raise ValueError("not a message")
    epoch, body = epoch_raw.decode("ascii"), _decode(rest)
    message = Message(
        epoch,
        int(seq),
        None if prev == b"0" else f"{epoch}-{prev.decode('ascii')}",
        body.channel,
        int(milliseconds) / 1000,
        body.data,
        body.content_type,
        body.form,
        body.event,
        body.end if is_kept else False,
        body.sender,
        is_kept=is_kept,
        reply_to=None if is_kept else body.reply_to,
    )
    return Published(message, None if body.exclude is None else _exclusion(body.exclude))


def _exclusion(text: str) -> Exclusion:
    if not _EXCLUSION.fullmatch(text):
        raise ValueError("invalid exclusion")
    return Exclusion(*text.split(" "))


def prev_of(message: Message) -> int:
    """Return the sequence of the previous message in the channel; 0 if there is none."""
    return int(message.prev.rpartition("-")[2]) if message.prev else 0

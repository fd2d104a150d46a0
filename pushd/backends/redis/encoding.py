"""The form in which a message stands in Redis, in streams and on pub/sub alike, so that it is made once.

``m EPOCH SEQ PREV MILLISECONDS`` and LF, which the script puts in front, then a MessagePack array of what the publisher
gave. A deletion is ``x EPOCH COUNT`` and LF, then the channel.
"""

from typing import Final

import msgspec

from pushd.core.message import Draft, Message

END, MARK = 1, 2
"""Kinds of messages to the script: the last of a stream, and one that is nothing but the mark of it."""


class _Body(msgspec.Struct, array_like=True, frozen=True):
    channel: str
    data: bytes
    content_type: str
    form: str
    event: str | None
    end: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode
_FOREVER: Final = 0


def encode_draft(draft: Draft, heard: int) -> tuple[object, ...]:
    """Give what the script takes for one message. `heard`: how many subscribers of this node hear it."""
    body = _encode((draft.channel, draft.data, draft.content_type, draft.encoding, draft.event, draft.end))
    size = len(draft.data) + len(draft.channel) + len(draft.content_type) + len(draft.event or "")
    ttl = _FOREVER if draft.ttl is None else max(round(draft.ttl * 1000), 1)
    kind = 0 if not draft.end else END if draft.data else MARK
    return (draft.channel, _as_text(body), f"{len(draft.data)} {size}", ttl, kind, heard)


def _as_text(data: bytes) -> msgspec.Raw:
    """Write bytes as MessagePack text: the reader of Redis, of before 2013, knows no other bytes."""
    return msgspec.Raw(b"\xdb" + len(data).to_bytes(4, "big") + data)


def accepted(draft: Draft, epoch: str, seq: int, prev: int, milliseconds: int) -> Message:
    """Make the message that a draft has become."""
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
    )


def decode_message(raw: bytes) -> Message:
    """Read a message.

    :raises ValueError: it is none, so somebody else writes under our prefix.
    """
    head, _, rest = raw.partition(b"\n")
    kind, epoch_raw, seq, prev, milliseconds = head.split(b" ")
    if kind != b"m":
        raise ValueError("not a message")
    epoch, body = epoch_raw.decode("ascii"), _decode(rest)
    return Message(
        epoch,
        int(seq),
        None if prev == b"0" else f"{epoch}-{prev.decode('ascii')}",
        body.channel,
        int(milliseconds) / 1000,
        body.data,
        body.content_type,
        body.form,
        body.event,
        body.end,
    )


def prev_of(message: Message) -> int:
    """Give the sequence of the message before; 0 for none."""
    return int(message.prev.rpartition("-")[2]) if message.prev else 0

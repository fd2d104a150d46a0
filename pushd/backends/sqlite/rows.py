"""The rows of messages and records, each with a checksum, so that corrupt data is never delivered.

SQLite has no checksums of its own: it detects damage to the structure of a file, not to the values in it.
"""

import sqlite3
from zlib import crc32

import msgspec

from pushd.backends.sqlite.channel_record import ChannelRecord
from pushd.core.message import Message

_SENDER = "sender"
MESSAGE_COLUMNS = f"seq, channel, prev, time, born, deadline, content_type, form, event, end, crc, data, {_SENDER}"
RECORD_COLUMNS = (
    "id, name, messages, bytes, cost, last, last_time, used, ended, deleted, floor, stale, lost, lost_time, "
    "lost_reason, place, crc"
)

MessageRow = tuple[int, int, int, float, float, float | None, str, str, str | None, int, int, bytes, str | None]
RecordRow = tuple[int, str, int, int, int, int, float, int, int, int, int, int, int, float, str, int, int]

_pack = msgspec.msgpack.Encoder().encode


def readable_columns(db: sqlite3.Connection) -> str:
    """Return `MESSAGE_COLUMNS`, with null for the sender if a file of an older version does not have it yet."""
    has_sender = db.execute("SELECT 1 FROM pragma_table_info('message') WHERE name = ?", (_SENDER,)).fetchone()
    return MESSAGE_COLUMNS if has_sender else MESSAGE_COLUMNS.replace(_SENDER, "NULL")


def row_of_message(message: Message, channel: int, prev: int, born: float, deadline: float | None) -> MessageRow:
    """Return the row of a message.

    :param channel: the id of the record of its channel.
    :param prev: the sequence of the message before it in its channel; 0 for none.
    :param born: when it was accepted, in seconds of log time.
    :param deadline: when its time to live is over, in seconds of log time.
    """
    seq, time, data, sender = message.seq, message.time, message.data, message.sender
    kind, form, event, end = message.content_type, message.encoding, message.event, int(message.end)
    crc = _crc_of_message(message.channel, seq, prev, time, born, deadline, kind, form, event, end, data, sender)
    return seq, channel, prev, time, born, deadline, kind, form, event, end, crc, data, sender


def message_of_row(row: MessageRow, epoch: str, name: str) -> Message | None:
    """Return the message of a row; None if it is damaged.

    :param name: the name of its channel.
    """
    seq, _, prev, time, born, deadline, kind, form, event, end, crc, data, sender = row
    try:
        if _crc_of_message(name, seq, prev, time, born, deadline, kind, form, event, end, data, sender) != crc:
            return None
    except (TypeError, ValueError):  # a value of the wrong type
        return None
    before = f"{epoch}-{prev}" if prev else None
    return Message(epoch, seq, before, name, time, data, kind, form, event, bool(end), sender)


def row_of_record(record: ChannelRecord) -> RecordRow:
    """Return the row of a record."""
    values = (
        record.id,
        record.name,
        record.messages,
        record.bytes,
        record.cost,
        record.last,
        record.last_time,
        record.used,
        int(record.ended),
        record.deleted,
        record.floor,
        record.stale,
        record.lost,
        record.lost_time,
        record.lost_reason,
        record.place,
    )
    return (*values, crc32(_pack(values)))


def record_of_row(row: RecordRow) -> ChannelRecord | None:
    """Return the record of a row; None if it is damaged."""
    if crc32(_pack(row[:-1])) != row[-1]:
        return None
    return ChannelRecord(*row[:8], bool(row[8]), *row[9:16])


def _crc_of_message(
    channel: str,
    seq: int,
    prev: int,
    time: float,
    born: float,
    deadline: float | None,
    kind: str,
    form: str,
    event: str | None,
    end: int,
    data: bytes,
    sender: str | None,
) -> int:
    """Return the checksum of a message; without a sender it is that of the versions that had none."""
    fields = (channel, seq, prev, time, born, deadline, kind, form, event, end)
    return crc32(data, crc32(_pack(fields if sender is None else (*fields, sender))))

"""The table of channels, made from two samples. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pushd.ctl.terminal import escape_controls
from pushd.ctl.top.sample import ChannelState, ConnectionState, Sample

_UNITS = ("B", "KiB", "MiB", "GiB")
HEADER = ("IN/S", "OUT/S", "SUBSCRIBERS", "CONNECTIONS", "QUEUE", "CHANNEL")


class Row(NamedTuple):
    """A channel, or the topics of connections that subscribe to patterns or to several channels."""

    name: str
    published: float | None
    """Messages per second, at least; None if unknown."""
    delivered: float
    """Messages per second, to `connections`."""
    subscribers: int | None
    """Those of the channel, by any topic; None if unknown."""
    connections: int
    """Number of connections with just these topics."""
    queue_bytes: int


def make_rows(before: Sample, after: Sample) -> list[Row]:
    """Return the rows, the busiest first."""
    by_topics: dict[str, list[str]] = defaultdict(list)
    for id, connection in after.connections.items():
        if connection.topics:
            by_topics[connection.topics].append(id)
    names = dict.fromkeys([*after.channels, *by_topics])
    rows = [_row(name, by_topics.get(name, ()), before, after) for name in names]
    return sorted(rows, key=lambda row: (-row.delivered, -(row.published or 0), -row.connections, row.name))


def _row(name: str, ids: Sequence[str], before: Sample, after: Sample) -> Row:
    seconds = max(after.time - before.time, 1e-9)
    sent = [_sent(before.connections.get(id), after.connections[id]) for id in ids]
    state = after.channels.get(name)
    published = _published(before.channels.get(name), state, max(sent, default=0))
    return Row(
        name,
        None if published is None else published / seconds,
        sum(sent) / seconds,
        None if state is None else state.subscribers,
        len(ids),
        sum(after.connections[id].queue_bytes for id in ids),
    )


def _sent(before: ConnectionState | None, after: ConnectionState) -> int:
    """Return the number of messages sent to a connection meanwhile; one that is new may have received old ones."""
    return 0 if before is None else max(0, after.messages - before.messages)


def _published(before: ChannelState | None, after: ChannelState | None, sent: int) -> int | None:
    """Return the number of messages published meanwhile, at least; None if it is unknown.

    The history does not grow where it is full; then the messages sent to one subscriber show how many there were.
    """
    if after is None or before is None:
        return sent or None
    if after.last == before.last:
        return 0
    return max(after.messages - before.messages, sent) or None


def format_table(before: Sample, after: Sample, width: int | None = None, height: int | None = None) -> list[str]:
    """Return the lines of the table: the totals, the header, and a row for each channel.

    :param width: the most characters of a line; None: any number.
    :param height: the most lines; None: any number.
    """
    rows = make_rows(before, after)
    shown = rows if height is None else rows[: max(0, height - 3)]
    cells = [HEADER, *(tuple(_cells(row)) for row in shown)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER) - 1)]
    lines = [
        _totals(before, after, rows, len(shown)),
        "",
        *(
            "  ".join([*(cell.rjust(size) for cell, size in zip(line, widths, strict=False)), line[-1]])
            for line in cells
        ),
    ]
    return [line[:width] for line in lines][:height]


def _cells(row: Row) -> Iterator[str]:
    yield "-" if row.published is None else f"{row.published:,.1f}"
    yield f"{row.delivered:,.1f}"
    yield "-" if row.subscribers is None else f"{row.subscribers:,}"
    yield f"{row.connections:,}"
    yield format_bytes(row.queue_bytes)
    yield escape_controls(row.name)


def _totals(before: Sample, after: Sample, rows: Sequence[Row], shown: int) -> str:
    """Return the line of the totals; the rates only if the metrics may be read."""
    seconds = max(after.time - before.time, 1e-9)
    words = []
    for name, label in (("pushd_published_total", "published/s"), ("pushd_delivered_total", "delivered/s")):
        if name in after.totals and name in before.totals:
            words.append(f"{max(0.0, after.totals[name] - before.totals[name]) / seconds:,.1f} {label}")
    queued = sum(each.queue_bytes for each in after.connections.values())
    words.append(f"{len(after.connections):,} connections")
    words.append(f"{format_bytes(after.totals.get('pushd_queue_bytes', queued))} queued")
    more = "+" if after.has_more else ""
    of = f", {shown:,} shown" if shown < len(rows) else ""
    words.append(f"{len(after.channels):,}{more} channels{of}")
    return "  ".join(words)


def format_bytes(size: float) -> str:
    """Return a number of bytes with its unit, such as ``1.5 KiB``."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} B" if unit == "B" else f"{size:,.1f} {unit}"

"""The table of channels: rates, totals, order, and the size of the terminal."""

from pushd.ctl.top.sample import ChannelState, ConnectionState, Sample
from pushd.ctl.top.table import format_bytes, format_table, make_rows

BEFORE = Sample(
    10.0,
    {"quiet": ChannelState(5, "e-1", 0), "busy": ChannelState(10, "e-9", 1), "full": ChannelState(100, "e-8", 1)},
    {"1": ConnectionState("busy", 0, 0), "2": ConnectionState("full", 50, 10), "3": ConnectionState("a,b/*", 7, 0)},
    {"pushd_published_total": 100.0, "pushd_delivered_total": 1000.0},
)
AFTER = Sample(
    12.0,
    {
        "quiet": ChannelState(5, "e-1", 0),
        "busy": ChannelState(30, "e-30", 2),
        "full": ChannelState(100, "e-31", 1),
        "new": ChannelState(1, "e-32", 0),
        "secret": None,
    },
    {
        "1": ConnectionState("busy", 20, 0),
        "2": ConnectionState("full", 58, 2048),
        "3": ConnectionState("a,b/*", 9, 0),
        "4": ConnectionState("busy", 1000, 0),
        "5": ConnectionState("", 0, 0),
    },
    {"pushd_published_total": 130.0, "pushd_delivered_total": 1030.0, "pushd_queue_bytes": 2048.0},
)


def test_rates() -> None:
    rows = {row.name: row for row in make_rows(BEFORE, AFTER)}
    assert (rows["busy"].published, rows["busy"].delivered, rows["busy"].subscribers) == (10, 10, 2)
    assert rows["busy"].connections == 2
    # The history is full: its subscriber shows how many were published.
    assert (rows["full"].published, rows["full"].delivered, rows["full"].queue_bytes) == (4, 4, 2048)
    assert (rows["quiet"].published, rows["quiet"].delivered) == (0, 0)
    assert (rows["a,b/*"].delivered, rows["a,b/*"].subscribers, rows["a,b/*"].connections) == (1, None, 1)
    assert (rows["new"].published, rows["secret"].published) == (None, None)


def test_busiest_rows_come_first() -> None:
    assert [row.name for row in make_rows(BEFORE, AFTER)] == ["busy", "full", "a,b/*", "new", "quiet", "secret"]


def test_table() -> None:
    totals, empty, header, *rows = format_table(BEFORE, AFTER)
    assert totals == "15.0 published/s  15.0 delivered/s  5 connections  2.0 KiB queued  5 channels"
    assert (empty, header.split()[-1]) == ("", "CHANNEL")
    assert rows[0].split() == ["10.0", "10.0", "2", "2", "0", "B", "busy"]
    assert rows[-1].split() == ["-", "0.0", "-", "0", "0", "B", "secret"]
    assert len({row.index(row.split()[-1]) for row in rows}) == 1


def test_table_fits_the_terminal() -> None:
    lines = format_table(BEFORE, AFTER, 20, 5)
    assert (len(lines), max(map(len, lines))) == (5, 20)
    assert "2 shown" in format_table(BEFORE, AFTER, None, 5)[0]
    assert format_table(BEFORE, AFTER, 0, 0) == []


def test_totals_without_metrics_are_those_of_the_connections() -> None:
    totals = format_table(BEFORE._replace(totals={}), AFTER._replace(totals={}, has_more=True))[0]
    assert totals == "5 connections  2.0 KiB queued  5+ channels"


def test_names_cannot_control_the_terminal() -> None:
    connections = {"1": ConnectionState("a\x1b[2J", 0, 0)}
    assert not any("\x1b" in line for line in format_table(BEFORE, AFTER._replace(connections=connections)))


def test_bytes_have_units() -> None:
    assert [format_bytes(size) for size in (0, 1023, 1536, 5 << 20)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]
    assert format_bytes(5 << 40) == "5,120.0 GiB"

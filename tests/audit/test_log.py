"""The lines of the audit log: bounded in number, whole whatever is in them, and never silently lost."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from pushd.audit.log import SUMMARY_SECONDS, AuditLog
from pushd.audit.repeats import MAX_KINDS
from pushd.core.errors import NotGranted, TokenInvalid, TokenRevoked
from pushd.core.grant import NOTHING
from pushd.core.identity import Identity
from pushd.core.peer import Peer
from pushd.core.revocations import Revocation


class Output:
    """Keeps lines; fails while `is_full`."""

    def __init__(self) -> None:
        self.data = b""
        self.is_full = self.is_closed = False

    def write(self, line: bytes) -> None:
        """Keep a line."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.data += line

    def reopen(self) -> None:
        """Fail while full."""
        if self.is_full:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        """Refuse further lines."""
        self.is_closed = True

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines, as objects."""
        return [json.loads(line) for line in self.data.splitlines()]


class Log:
    """An audit log on an `Output`."""

    def __init__(self) -> None:
        self.clock, self.output = Clock(), Output()
        self.log = AuditLog(self.clock, self.clock.seconds, lambda name: self.output)
        self.log.open("audit.log")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def sentences():
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(observer)


def peer(subject: str | None = "alice", address: str = "192.0.2.7") -> Peer:
    identity = None if subject is None else Identity(subject, NOTHING, "app")
    return Peer("http", address, NOTHING, identity, address)


REFUSAL = NotGranted("action subscribe on topic a is not granted", "subscribe", "a")


def test_refusal_names_who_wanted_what(log: Log) -> None:
    log.clock.advance(0.5)
    log.log.refused(REFUSAL, peer())
    assert log.output.records == [
        {
            "time": "1970-01-01T00:00:00.500Z",
            "event": "refused",
            "code": "forbidden",
            "action": "subscribe",
            "topic": "a",
            "sub": "alice",
            "issuer": "app",
            "address": "192.0.2.7",
            "transport": "http",
            "connection": None,
            "count": 1,
        }
    ]
    assert log.output.data.startswith(b'{"time":"1970-01-01T00:00:00.500Z","event":"refused","code":"forbidden",')


def test_refusal_of_a_genuine_credential_has_its_subject(log: Log) -> None:
    log.log.refused(TokenRevoked("token has been revoked", subject="bob"), peer(None))
    assert log.output.records[0]["sub"] == "bob"


def test_flood_of_one_client_is_two_lines_a_minute(log: Log) -> None:
    for _ in range(3):
        for number in range(1000):
            log.log.refused(NotGranted("no", "subscribe", f"a/{number}"), peer())
        log.clock.advance(SUMMARY_SECONDS)
    found = [(record["topic"], record["count"]) for record in log.output.records]
    assert found == [("a/0", 1), (None, 999)] * 3
    assert not log.clock.getDelayedCalls()


def test_flood_of_many_clients_has_a_bounded_number_of_lines(log: Log) -> None:
    for number in range(5000):
        log.log.refused(TokenInvalid("no"), peer(None, f"198.51.{number // 250}.{number % 250}"))
    log.clock.advance(SUMMARY_SECONDS)
    records = log.output.records
    assert len(records) == MAX_KINDS + 1
    assert (records[-1]["code"], records[-1]["count"]) == ("token-invalid", 5000 - MAX_KINDS)
    assert sum(record["count"] for record in records) == 5000


def test_renewals_are_collapsed_and_what_operators_do_is_not(log: Log) -> None:
    identity = Identity("alice", NOTHING, "app", 90.0, "id-1")
    for _ in range(5):
        log.log.renewed(peer(), identity)
        log.log.deleted(peer(), "a")
        log.log.revoked(peer(), Revocation("sub", "bob", 1, 2, 0, "left"))
        log.log.kicked_subject(peer(), "bob", 3)
        log.log.kicked(peer(), peer("carol", "198.51.100.1"))
    log.clock.advance(SUMMARY_SECONDS)
    events = [record["event"] for record in log.output.records]
    assert {event: events.count(event) for event in events} == {"renewed": 2, "deleted": 5, "revoked": 5, "kicked": 10}
    records = {record["event"]: record for record in log.output.records}
    assert records["renewed"].items() >= {"token": "id-1", "expires": 90.0, "count": 4}.items()
    assert records["revoked"].items() >= {"kind": "sub", "value": "bob", "before": 1, "reason": "left"}.items()
    assert records["kicked"].items() >= {"kicked_sub": "carol", "kicked_address": "198.51.100.1"}.items()
    assert records["deleted"].items() >= {"action": "manage", "topic": "a", "sub": "alice"}.items()


def test_summary_is_written_when_the_log_is_closed_or_another_file_is_opened(log: Log) -> None:
    for _ in range(2):
        log.log.refused(REFUSAL, peer())
    log.log.open("other.log")
    assert [record["count"] for record in log.output.records] == [1, 1]
    assert not log.clock.getDelayedCalls()


def test_log_that_is_off_writes_and_counts_nothing() -> None:
    clock = Clock()
    log = AuditLog(clock, clock.seconds)
    log.refused(REFUSAL, peer())
    log.renewed(peer(), Identity("alice", NOTHING, "app"))
    log.deleted(peer(), "a")
    assert not log.reopen() and not clock.getDelayedCalls()
    log.close()


@given(st.text(max_size=3000), st.text(max_size=300))
def test_no_value_forges_a_line_or_a_field(subject: str, topic: str) -> None:
    log = Log()
    log.log.refused(NotGranted("no", "publish", topic), peer(subject, "x\n{}"))
    log.log.revoked(peer(subject), Revocation("sub", subject, 0, 0, 0, topic))
    assert len(log.output.data.splitlines()) == log.output.data.count(b"\n") == 2
    assert log.output.data.isascii() and len(log.output.data) < 30_000
    record = log.output.records[0]
    assert (record["event"], record["sub"], record["topic"]) == ("refused", subject[:1024], topic)


def test_events_that_cannot_be_written_are_counted_and_reported(log: Log, sentences: Any) -> None:
    log.output.is_full = True
    for _ in range(3):
        log.log.deleted(peer(), "a")
    log.output.is_full = False
    log.log.deleted(peer(), "b")
    log.log.deleted(peer(), "c")
    assert [(record["event"], record["count"]) for record in log.output.records] == [
        ("lost", 3),
        ("deleted", 1),
        ("deleted", 1),
    ]
    assert sentences() == [
        "Audit log audit.log cannot be written: No space left on device",
        "Audit log audit.log can be written again; 3 events are lost",
    ]


def test_file_that_cannot_be_opened_anew_is_reported(log: Log, sentences: Any) -> None:
    log.output.is_full = True
    assert log.log.reopen()
    assert sentences() == [
        "Audit log audit.log not opened anew, the previous file stays in use: No space left on device"
    ]

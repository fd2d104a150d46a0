"""Every request and command with every kind of credential: allowed, lacking, denied, anonymous and wrong."""

import inspect
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from pushd.backends.interface import Backend
from pushd.backends.presence import PresenceBackend
from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, Grants, bearer, only, without
from tests.authorization.every_row import ROWS
from tests.authorization.row import ALLOWED, Row
from tests.daemon_fixtures import Start
from tests.transports.daemon import RunningDaemon

GOOD = "pushd_Zq8vTr2LmXw5Yb7NcKd4"
"""The token to which exactly what a row needs is granted."""
WRONG = "pushd_Xs9uQp3KlWv6Za8McJe5"
DENIED = "pushd_Yt7wRn4JhUv3Qa6PdLf2"
ELSEWHERE = "pushd_Vk5yBm9GsTz2Ch8RgHx7"
_LACKING = "pushd_Nj6xDw{}Fq4Lr9SbMu3E"
_PART = 8
"""Characters of a token that must not occur anywhere."""

PROTECTED = tuple(row for row in ROWS if not row.is_open)


@pytest.fixture
def log() -> Iterator[list[str]]:
    """All log events of all levels, as texts: as they are logged, and all their values."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        texts.append(formatEvent(event))
        texts.extend(f"{value!r} {value}" for key, value in event.items() if key != "log_logger")

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield texts
    globalLogPublisher.removeObserver(observer)


def each_row(rows: Collection[Row]) -> pytest.MarkDecorator:
    """Run a test once for each row."""
    return pytest.mark.parametrize("row", rows, ids=[row.label for row in rows])


def tokens_of(row: Row) -> dict[str, Grants]:
    """Return the tokens with which a row is forbidden, and the one with which it is allowed."""
    tokens = {_LACKING.format(number): without(right) for number, right in enumerate(row.needs)}
    if set(row.needs) - set(EVERYTHING):  # an operation
        return {**tokens, GOOD: only(row.needs)}
    denied = {**EVERYTHING, "deny": ["room/**"]} if row.needs else {}
    elsewhere = only(row.needs, ["room/b", "other/**"])
    return {**tokens, **({DENIED: denied, ELSEWHERE: elsewhere} if row.needs else {}), GOOD: only(row.needs)}


def forbid_backend(daemon: RunningDaemon, patch: pytest.MonkeyPatch) -> None:
    """Make every call of the backend fail. A refusal without such a call takes the same time, whatever exists."""

    def fail(*arguments: object) -> None:
        pytest.fail("the backend was called")

    backend = daemon._service.hub._backend
    for protocol, target in ((Backend, backend), (PresenceBackend, backend.presence)):
        for name, member in vars(protocol).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                patch.setattr(target, name, fail)


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_only_with_what_it_needs(
    start_daemon: Start, tmp_path: Path, row: Row, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, tokens = Credentials(tmp_path), tokens_of(row)
    credentials.write(tokens)
    daemon = await start_daemon({"log.access": 1}, file=credentials.file)
    prepared = await row.prepare(daemon)
    with monkeypatch.context() as patch:
        forbid_backend(daemon, patch)
        assert await row.send(prepared, None) == "token-missing"
        assert await row.send(prepared, WRONG) == "token-invalid"
        for token in tokens.keys() - {GOOD}:
            assert await row.send(prepared, token) == "forbidden", tokens[token]
    assert await row.send(prepared, GOOD) == ALLOWED
    shown = [(await daemon.request("GET", path, None, bearer(SETUP))).body for path in ("/connections", "/metrics")]
    assert_no_part_of_a_token([*tokens, WRONG], [*log, *(body.decode() for body in shown)])


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_anonymous_peers_have_their_grant_and_wrong_tokens_have_not(
    start_daemon: Start, tmp_path: Path, row: Row
) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({}, only(row.needs or ("reply",)))
    prepared = await row.prepare(await start_daemon({}, file=credentials.file))
    assert await row.send(prepared, WRONG) == "token-invalid"
    assert await row.send(prepared, None) == ("token-missing" if row.needs_token else ALLOWED)


@each_row([row for row in ROWS if row.is_open])
@pytest_twisted.ensureDeferred
async def test_open_to_everybody(start_daemon: Start, tmp_path: Path, row: Row) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({GOOD: {}})
    prepared = await row.prepare(await start_daemon({}, file=credentials.file))
    for token in (None, GOOD):
        assert await row.send(prepared, token) == ALLOWED


def assert_no_part_of_a_token(tokens: Collection[str], texts: Collection[str]) -> None:
    """Check that no text has a part of a token."""
    for token in tokens:
        secret = token.removeprefix("pushd_")
        for first in range(len(secret) - _PART):
            part = secret[first : first + _PART]
            assert not [text for text in texts if part in text]

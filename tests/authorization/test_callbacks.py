"""Every request and command with a callback: the application narrows a token, or grants something without one."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_twisted

from pushd.auth.callback_question import CALLBACK_ACTIONS
from tests.authorization.credentials import EVERYTHING, Credentials, only, subject_of
from tests.authorization.dialect_rows import SessionRequests
from tests.authorization.every_row import ROWS
from tests.authorization.row import ALLOWED, Prepared, Row
from tests.daemon_fixtures import Start
from tests.service.application import Application, application, response, write_callback

__all__ = ["application"]

GOOD: Final = "pushd_Zq8vTr2LmXw5Yb7NcKd4"
PROTECTED = tuple(row for row in ROWS if not row.is_open and "/metrics" not in row.label)
"""All but ``/metrics``, which is answered to tokens also while the application fails."""
_ASKED: Final = {"subscribe": "subscribe", "history": "subscribe", "presence": "subscribe", "publish": "publish"}
"""The action about which the application is asked, by that which a row needs."""
FAILURE: Final = response(b"", "500 Error")


def each_row(rows: Collection[Row]) -> pytest.MarkDecorator:
    """Run a test once for each row; those of sessions are slow."""
    params = [
        pytest.param(row, id=row.label, marks=[pytest.mark.slow] if isinstance(row.send, SessionRequests) else [])
        for row in rows
    ]
    return pytest.mark.parametrize("row", params)


def asked_of(row: Row) -> set[str]:
    """Return the actions besides `connect` about which the application is asked: lists of members are not topics."""
    if row.needs == ("presence",) and "of presence" not in row.label:
        return set()
    return {_ASKED[each] for each in row.needs if each in _ASKED}


class Scene:
    """A daemon with a token that is granted what a row needs, and an application that refuses other tokens nothing."""

    def __init__(self, application: Application, row: Row, prepared: Prepared) -> None:
        self._application = application
        self._row = row
        self._prepared = prepared

    async def outcome(self, token: str | None, connect: Any = None, topics: Any = None) -> str:
        """Send the row.

        :param connect: the answer to `connect`; None: it is allowed.
        :param topics: the answer to `subscribe` and `publish`.
        """

        def answer(question: dict[str, Any]) -> Any:
            if question["sub"] not in (None, subject_of(GOOD)):
                return {"allow": True}
            return (connect if question["action"] == "connect" else topics) or {"allow": True, "ttl": 0}

        self._application.questions.clear()
        self._application.answer = answer
        return await self._row.send(self._prepared, token)

    async def degraded(self) -> list[str]:
        """Return what the daemon, which is ready, reports as degraded."""
        ready = await self._prepared.daemon.request("GET", "/health/ready")
        assert (ready.status, ready.json["ready"]) == (200, True)
        return list(ready.json.get("degraded", []))


async def start(
    start_daemon: Start, folder: Path, application: Application, row: Row, actions: Collection[str] = CALLBACK_ACTIONS
) -> Scene:
    """Start a daemon with a callback about some actions."""
    credentials = Credentials(folder)
    credentials.write({GOOD: only(row.needs) if row.needs else EVERYTHING})
    with credentials.file.open("a") as file:
        file.write(write_callback(folder, application, actions=list(actions)))
    daemon = await start_daemon({}, file=credentials.file)
    return Scene(application, row, await row.prepare(daemon))


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_the_application_narrows_a_token(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row
) -> None:
    scene = await start(start_daemon, tmp_path, application, row)
    refusal, nothing = {"allow": False, "ttl": 0}, {"allow": True, "grant": {}, "ttl": 0}
    assert await scene.outcome(GOOD, connect=refusal) == "forbidden"
    assert {question["action"] for question in application.questions} == {"connect"}
    if row.needs:
        assert await scene.outcome(GOOD, connect=nothing) == "forbidden"
    if asked_of(row):
        for answer in (refusal, nothing):
            assert await scene.outcome(GOOD, topics=answer) == "forbidden"
            assert {question["action"] for question in application.questions} == {"connect", *asked_of(row)}
        assert await scene.outcome(GOOD, topics=FAILURE) == "unavailable"
    assert await scene.outcome(GOOD, connect=FAILURE) == "unavailable"
    [degraded] = await scene.degraded()
    assert degraded.endswith("failed: the response has the status 500")
    assert await scene.outcome(GOOD) == ALLOWED
    assert not await scene.degraded()
    assert {question["action"] for question in application.questions} == {"connect", *asked_of(row)}
    by_token = [question for question in application.questions if question["sub"] is not None]
    assert by_token  # others are of commands that were pipelined after a refused `AUTH`
    for question in by_token:
        assert (question["sub"], question["claims"]) == (subject_of(GOOD), None)
        assert (question["address"], question["headers"]) == ("127.0.0.1", {})
        assert bool(question["topics"]) is (question["action"] != "connect")


@each_row(tuple(row for row in PROTECTED if row.needs))
@pytest_twisted.ensureDeferred
async def test_an_answer_never_adds_to_a_token(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row
) -> None:
    other = "enter" if row.needs != ("enter",) else "presence"
    scene = await start(start_daemon, tmp_path, application, replace(row, needs=(other,)))
    everything = {"allow": True, "grant": EVERYTHING, "ttl": 0}
    assert await scene.outcome(GOOD, everything, everything) == "forbidden"
    assert {question["action"] for question in application.questions} == {"connect"}


@pytest.mark.parametrize("actions", [["connect"], ["subscribe", "publish"]], ids=["connect", "topics"])
@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_an_answer_replaces_the_grant_of_anonymous_peers(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row, actions: list[str]
) -> None:
    scene = await start(start_daemon, tmp_path, application, row, actions)
    is_begun = row.begins_session and actions != ["connect"]
    assert await scene.outcome(None) == (ALLOWED if is_begun else "token-missing")
    if actions == ["connect"]:
        assert await scene.outcome(None, connect=FAILURE) == "unavailable"
        assert await scene.outcome(None, connect={"allow": False, "ttl": 0}) == "forbidden"
    answer = {"allow": True, "grant": only(row.needs) if row.needs else EVERYTHING, "ttl": 0}
    is_granted = not row.needs_token and (actions == ["connect"] or (asked_of(row) and set(row.needs) <= _ASKED.keys()))
    assert await scene.outcome(None, answer, answer) == (ALLOWED if is_granted or is_begun else "token-missing")
    await scene.outcome(None)

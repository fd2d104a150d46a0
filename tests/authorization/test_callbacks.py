"""Every request and command with a callback: the application narrows a token, or grants something without one."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_twisted

from pushd.auth.callback_question import CALLBACK_ACTIONS
from tests.authorization.credentials import EVERYTHING, Credentials, only, subject_of
from tests.authorization.rows import ALLOWED, ROWS, Prepared, Row
from tests.daemon_fixtures import Start
from tests.service.application import Application, application, response, write_callback

__all__ = ["application"]

GOOD: Final = "pushd_Zq8vTr2LmXw5Yb7NcKd4"
PROTECTED = tuple(row for row in ROWS if not row.is_open and "/metrics" not in row.label)
"""All but ``/metrics``, which is answered to tokens also while the application fails."""
_ASKED: Final = {"subscribe": "subscribe", "history": "subscribe", "presence": "subscribe", "publish": "publish"}
"""The action about which the application is asked, by that which a row needs."""
ASKED = tuple(row for row in PROTECTED if any(each in _ASKED for each in row.needs))


def each_row(rows: Collection[Row]) -> pytest.MarkDecorator:
    """Run a test once for each row."""
    return pytest.mark.parametrize("row", rows, ids=[row.label for row in rows])


async def start(
    start_daemon: Start, folder: Path, application: Application, row: Row, actions: Collection[str] = CALLBACK_ACTIONS
) -> Prepared:
    """Start a daemon with a token that is granted what a row needs, and a callback about some actions."""
    credentials = Credentials(folder)
    grants = EVERYTHING if not row.needs else only(row.needs)
    credentials.write({GOOD: grants})
    with credentials.file.open("a") as file:
        file.write(write_callback(folder, application, actions=list(actions)))
    prepared = await row.prepare(await start_daemon({}, file=credentials.file))
    application.questions.clear()
    return prepared


def only_for_setup(answer: Any) -> Any:
    """Return answers that are those of a function for all but the token with which the test prepares the daemon."""
    return lambda question: answer if question["sub"] in (None, subject_of(GOOD)) else {"allow": True}


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_allowed_by_the_application(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row
) -> None:
    prepared = await start(start_daemon, tmp_path, application, row)
    assert await row.send(prepared, GOOD) == ALLOWED
    asked = {question["action"] for question in application.questions}
    assert asked == {"connect", *(_ASKED[each] for each in row.needs if each in _ASKED)}
    for question in application.questions:
        assert question["sub"] == subject_of(GOOD)
        assert question["claims"] is None
        assert question["address"] == "127.0.0.1"
        assert question["headers"] == {}
        assert bool(question["topics"]) is (question["action"] != "connect")


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_refused_connect(start_daemon: Start, tmp_path: Path, application: Application, row: Row) -> None:
    prepared = await start(start_daemon, tmp_path, application, row, ["connect"])
    application.answer = only_for_setup({"allow": False})
    assert await row.send(prepared, GOOD) == "forbidden"


@each_row(ASKED)
@pytest_twisted.ensureDeferred
async def test_refused_topics(start_daemon: Start, tmp_path: Path, application: Application, row: Row) -> None:
    prepared = await start(start_daemon, tmp_path, application, row, ["subscribe", "publish"])
    application.answer = only_for_setup({"allow": False})
    assert await row.send(prepared, GOOD) == "forbidden"
    assert {question["action"] for question in application.questions} == {
        _ASKED[each] for each in row.needs if each in _ASKED
    }


@pytest.mark.parametrize("actions", [["connect"], ["subscribe", "publish"]], ids=["connect", "topics"])
@each_row(tuple(row for row in PROTECTED if row.needs))
@pytest_twisted.ensureDeferred
async def test_an_empty_grant_in_the_answer(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row, actions: list[str]
) -> None:
    prepared = await start(start_daemon, tmp_path, application, row, actions)
    application.answer = only_for_setup({"allow": True, "grant": {}})
    expected = "forbidden" if actions == ["connect"] or row in ASKED else ALLOWED
    assert await row.send(prepared, GOOD) == expected


@each_row(tuple(row for row in PROTECTED if row.needs))
@pytest_twisted.ensureDeferred
async def test_an_answer_never_adds_to_a_token(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row
) -> None:
    prepared = await start(start_daemon, tmp_path, application, replace(row, needs=("presence",)))
    application.answer = only_for_setup({"allow": True, "grant": EVERYTHING})
    if row.needs == ("presence",):
        return
    assert await row.send(prepared, GOOD) == "forbidden"
    assert {question["action"] for question in application.questions} == {"connect"}


@pytest.mark.parametrize("actions", [["connect"], ["subscribe", "publish"]], ids=["connect", "topics"])
@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_an_answer_replaces_the_grant_of_anonymous_peers(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row, actions: list[str]
) -> None:
    prepared = await start(start_daemon, tmp_path, application, row, actions)
    application.answer = only_for_setup({"allow": True, "grant": EVERYTHING if not row.needs else only(row.needs)})
    is_granted = not row.needs_token and (actions == ["connect"] or (row in ASKED and set(row.needs) <= _ASKED.keys()))
    assert await row.send(prepared, None) == (ALLOWED if is_granted else "token-missing")
    application.answer = only_for_setup({"allow": True})


@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_without_a_grant_in_the_answer_anonymous_peers_are_allowed_nothing_more(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row
) -> None:
    prepared = await start(start_daemon, tmp_path, application, row)
    assert await row.send(prepared, None) == "token-missing"


@pytest.mark.parametrize("token", [GOOD, None], ids=["token", "anonymous"])
@each_row(PROTECTED)
@pytest_twisted.ensureDeferred
async def test_nothing_is_allowed_while_the_application_fails(
    start_daemon: Start, tmp_path: Path, application: Application, row: Row, token: str | None
) -> None:
    prepared = await start(start_daemon, tmp_path, application, row)
    application.answer = only_for_setup(response(b"", "500 Error"))
    assert await row.send(prepared, token) == "unavailable"
    ready = await prepared.daemon.request("GET", "/health/ready")
    assert (ready.status, ready.json["ready"]) == (200, True)
    [degraded] = ready.json["degraded"]
    assert degraded.endswith("failed: the response has the status 500")

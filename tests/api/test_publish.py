"""Publishing by HTTP judges the grant of the peer once, for all channels before anything is stored."""

from pathlib import Path
from typing import Any

import pytest

from pushd.core.grant import Grant
from tests.daemon_fixtures import Start, start_daemon

__all__ = ["start_daemon"]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_grant_is_judged_once(
    start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text('[auth.anonymous]\npublish = ["a", "b"]\nhistory = ["**"]\n')
    daemon = await start_daemon({}, file=file)
    judged: list[str] = []
    may = Grant.may

    def counted(grant: Grant, action: Any, topic: str) -> bool:
        judged.append(topic)
        return may(grant, action, topic)

    monkeypatch.setattr(Grant, "may", counted)
    answer = await daemon.request("POST", "/pub/a,b", b"x", headers=headers)
    assert (answer.status, judged) == (202, ["a", "b"])
    answer = await daemon.request("POST", "/pub/a,c,b", b"x")
    assert (answer.status, answer.json["error"]["code"]) == (401, "token-missing")
    monkeypatch.undo()
    assert len((await daemon.request("GET", "/history/a?since=all")).json) == 1

"""The console: its files and their headers, the setting, and the states of channels."""

import json
from typing import Any

import pytest

from pushd.api.pages import CONSOLE
from tests.transports.daemon import RunningDaemon


async def states(daemon: RunningDaemon, query: str = "") -> dict[str, Any]:
    response = await daemon.request("GET", f"/channels?details=1{query}")
    found: dict[str, Any] = json.loads(response.body)
    return found


@pytest.mark.parametrize("listener", ["http", "admin"])
async def test_files_have_a_strict_policy_and_are_revalidated(start_daemon, listener: str) -> None:
    daemon = await start_daemon({"http.admin_listen": "tcp:0:interface=127.0.0.1"} if listener == "admin" else {})
    for name in ("", *CONSOLE):
        response = await daemon.request("GET", f"/console/{name}", listener=listener)
        policy = response.headers["content-security-policy"]
        assert (response.status, response.body) == (200, CONSOLE[name or "index.html"])
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        tag = response.headers["etag"]
        again = await daemon.request("GET", f"/console/{name}", listener=listener, headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")
    redirect = await daemon.request("GET", "/console", listener=listener)
    assert (redirect.status, redirect.headers["location"]) == (301, "console/")
    assert (await daemon.request("GET", "/console/nope.js", listener=listener)).status == 404


def test_files_have_no_inline_scripts_and_no_sinks_of_markup() -> None:
    for name, body in CONSOLE.items():
        text = body.decode()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"):
            assert word not in text, name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and " style=" not in text, name


async def test_the_console_can_be_switched_off(start_daemon) -> None:
    daemon = await start_daemon({"http.console": "false"})
    assert {(await daemon.request("GET", path)).status for path in ("/console", "/console/")} == {404}
    assert (await daemon.request("GET", "/channels")).status == 200


@pytest.mark.parametrize("is_durable", [False, True])
async def test_details_of_channels_count_messages_from_the_first_question_on(
    start_daemon, tmp_path, is_durable: bool
) -> None:
    daemon = await start_daemon({"backend.data_dir": tmp_path} if is_durable else {})
    await daemon.publish("a")
    await daemon.publish("b")
    before = await states(daemon)
    assert [(each["channel"], each["messages"], each["published"]) for each in before["channels"]] == [
        ("a", 1, 0),
        ("b", 1, 0),
    ]
    await daemon.publish("a")
    await daemon.publish("a")
    [state] = (await states(daemon, "&limit=1"))["channels"]
    assert (state["messages"], state["published"], state["subscribers"], state["transports"]) == (3, 2, 0, {})
    assert (await states(daemon, "&limit=1"))["next"] == "a"
    assert (await daemon.request("GET", "/channels?details=1&limit=101")).status == 400

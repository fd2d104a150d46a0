"""Cursors that clients of Pushlet and comet4j send, and what is sent again.

The promises that all transports make about cursors are tested in tests/transports.
"""

import json
from urllib.parse import unquote

import pytest

from tests.dialects.test_session_cursors import SETTINGS, each_session, receive
from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, encode_request

PUSHLET = "/pushlet.srv?p_event=join-listen&p_mode=pull&p_format=json&p_subject=/a"
COMET4J = "/comet4j?cmd=conn&channels=a"


@each_session
async def test_messages_are_sent_again_when_a_client_has_left_before_its_answer(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS)
    session = session_class(daemon)
    await session.begin(["a"])
    waiting = daemon.connect("http", HttpClient(encode_request("GET", session.revival)))
    await until(lambda: daemon.subscribers("a"), "a held request")
    waiting.transport.abortConnection()
    await until(lambda: not daemon.subscribers("a"), "its end")
    await daemon.publish("a", "one")
    assert await receive(session, 1) == ["one"]


@each_session
async def test_an_answer_is_not_repeated_to_a_client_that_sends_no_cursor(start_daemon, session_class):
    daemon = await start_daemon(SETTINGS)
    session = session_class(daemon)
    await session.begin(["a"])
    await daemon.publish("a", "one")
    await session.send_revival()  # its answer is lost
    await daemon.publish("a", "two")
    assert await receive(session, 1) == ["two"]


async def test_the_address_of_the_next_request_of_pushlet_has_the_cursor(start_daemon):
    daemon = await start_daemon(SETTINGS)
    *_, refresh = (await daemon.request("GET", PUSHLET)).json
    await daemon.publish("a", "one")
    lost, again = [(await daemon.request("GET", refresh["p_url"])).json for _ in range(2)]
    assert [event.get("data") for event in again] == [None, "one", None]
    assert lost == again
    await daemon.publish("a", "two")
    answer = await daemon.request("GET", again[-1]["p_url"])
    assert [event.get("data") for event in answer.json] == [None, "two", None]
    assert answer.json[-1]["p_url"].endswith(f"&p_since={answer.headers['pushd-cursor']}")


async def test_comet4j_has_a_cursor_in_conn_only_since_its_script_repeats_the_parameters(start_daemon):
    daemon = await start_daemon(SETTINGS)
    first, *_ = await daemon.publish_all(("a", "one"), ("a", "two"), ("a", "three"))
    conn = await daemon.request("GET", f"{COMET4J}&since={first}")
    assert conn.headers["pushd-cursor"] == first
    id = json.loads(unquote(conn.body[1:-1].decode()))["data"]["cId"]
    for text in ("two", "three"):
        answer = await daemon.request("GET", f"/comet4j?cmd=revival&cid={id}&channels=a&since={first}")
        message = json.loads(unquote(answer.body[1:-1].decode()))
        assert (message["data"], message["id"]) == (text, answer.headers["pushd-cursor"])


@pytest.mark.parametrize("address", [f"{PUSHLET}&p_since=latest", f"{COMET4J}&since=latest"])
async def test_a_cursor_for_each_channel_is_refused(start_daemon, address):
    answer = await (await start_daemon(SETTINGS)).request("GET", address)
    assert b"bad-since" in answer.body
    assert b"one cursor" in answer.body


async def test_a_page_begins_where_it_was_rendered(start_daemon):
    daemon = await start_daemon(SETTINGS)
    cursor = (await daemon.request("GET", "/cursor/a")).json["cursor"]
    await daemon.publish("a", "meanwhile")
    _, event, _ = (await daemon.request("GET", f"{PUSHLET}&p_since={cursor}")).json
    assert event["data"] == "meanwhile"


async def test_the_subject_of_all_subjects(start_daemon):
    daemon = await start_daemon(SETTINGS)
    *_, refresh = (await daemon.request("GET", PUSHLET.removesuffix("a"))).json
    await daemon.publish("any/channel", "one")
    _, event, _ = (await daemon.request("GET", refresh["p_url"])).json
    assert (event["p_subject"], event["data"]) == ("/any/channel", "one")

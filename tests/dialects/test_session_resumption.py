"""Cursors that clients of Pushlet and comet4j send, and what is sent again.

The promises that all transports make about cursors are tested in tests/transports.
"""

import json
from urllib.parse import unquote

import pytest

from pushd.core.errors import Unavailable
from tests.dialects.test_session_cursors import SETTINGS, each_session, receive
from tests.transports.client import Closed, Refused
from tests.transports.daemon import until, until_ready
from tests.transports.every_client import each_client
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.session_clients import SESSIONS

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


async def test_a_client_of_pushlet_whose_topics_cannot_be_opened_comes_back_later(start_daemon, monkeypatch):
    daemon = await start_daemon(SETTINGS)
    *_, refresh = (await daemon.request("GET", PUSHLET)).json

    async def fail(*arguments):
        raise Unavailable("the backend is away")

    with monkeypatch.context() as patch:
        patch.setattr(daemon._service.hub._backend, "open", fail)
        (again,) = (await daemon.request("GET", refresh["p_url"])).json
    assert (again["p_event"], again["p_wait"], again["p_url"]) == ("refresh", "3000", refresh["p_url"])
    assert await daemon.metric('pushd_refusals_total{code="unavailable"}') == 1
    await daemon.publish("a", "one")
    _, event, _ = (await daemon.request("GET", again["p_url"])).json
    assert event["data"] == "one"


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


async def move(client, daemon):
    """Send the next request of a client to a daemon without its session, and return the session that follows."""
    before, client.daemon = client.daemon, daemon
    (subscriber,) = before.subscribers("a")
    assert (await before.request("DELETE", f"/connections/{subscriber.peer.id}")).status == 200
    assert isinstance(await client.next(), Closed)
    assert isinstance(client.refused, Refused)
    assert client.refused.status == (404 if "comet4j" in client.label else 400)
    again = type(client)(daemon)
    await again.subscribe("a", since=client.cursor)
    return again


@each_client(SESSIONS)
async def test_a_client_whose_request_reaches_another_node_begins_again_and_loses_nothing(
    start_daemon, one_redis, client_class
):
    one_redis.ask("FLUSHALL")
    one, two = [await start_daemon(SETTINGS | {"backend.url": one_redis.url}) for _ in range(2)]
    await until_ready(one)
    await until_ready(two)
    client = client_class(one)
    await client.subscribe("a")
    await one.publish("a", "1")
    assert await client.data(1) == [b"1"]
    await until(lambda: [each for each in one.subscribers("a") if getattr(each, "position", True)], "the next request")
    again = await move(client, two)
    await one.publish("a", "2")
    assert await again.data(1) == [b"2"]


@each_client(SESSIONS)
async def test_a_client_begins_again_after_a_restart_and_loses_nothing(start_daemon, tmp_path, client_class):
    settings = SETTINGS | {"backend.data_dir": tmp_path}
    daemon = await start_daemon(settings)
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", "1")
    assert await client.data(1) == [b"1"]
    await daemon.stop()
    assert isinstance(await client.next(), Closed)
    daemon = await start_daemon(settings)
    await daemon.publish("a", "2")
    client.daemon = daemon
    client.start()
    assert isinstance(await client.next(), Closed)
    assert client.refused is not None
    again = client_class(daemon)
    await again.subscribe("a", since=client.cursor)
    assert await again.data(1) == [b"2"]

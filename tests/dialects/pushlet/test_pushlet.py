"""Pushlet by raw HTTP, as its Java and JavaScript clients send it."""

import json
import re
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from twisted.internet.defer import Deferred

from tests.authorization.credentials import Credentials, bearer, only
from tests.transports.daemon import until

SETTINGS: dict[str, object] = {"dialects.enable": "pushlet"}


async def ask(daemon, headers=None, status=200, **query):
    answer = await daemon.request("GET", f"/pushlet.srv?{urlencode(query)}", None, headers)
    assert answer.status == status, answer.body
    kind = answer.headers["content-type"]
    if kind.startswith("application/json"):
        return json.loads(answer.body)
    text = answer.body.decode()
    text = text if kind.startswith("text/xml") else f"<pushlet>{text}</pushlet>"
    return [dict(each.attrib) for each in ElementTree.fromstring(text)]


async def join(daemon, p_format="xml", **query):
    (ack,) = await ask(daemon, p_event="join", p_format=p_format, **query)
    assert ack["p_event"] == "join-ack"
    return ack["p_id"]


@pytest.mark.parametrize("kind", ["xml", "xml-strict", "json"])
async def test_a_client_joins_subscribes_and_pulls(start_daemon, kind):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon, p_format=kind)
    (ack,) = await ask(daemon, p_event="subscribe", p_id=id, p_subject="/stocks")
    assert (ack["p_event"], ack["p_subject"]) == ("subscribe-ack", "/stocks")
    (ack,) = await ask(daemon, p_event="publish", p_id=id, p_subject="/stocks/abn", rate="23.5", name='<&"\u2028')
    assert ack["p_event"] == "publish-ack"
    ack, data, refresh = await ask(daemon, p_event="listen", p_id=id, p_mode="pull")
    assert (ack["p_event"], refresh["p_event"], refresh["p_wait"]) == ("listen-ack", "refresh", "0")
    assert (data["p_subject"], data["rate"], data["name"]) == ("/stocks/abn", "23.5", '<&"\u2028')
    (message,) = (await daemon.request("GET", "/history/stocks/abn")).json
    assert message["data"] == {"rate": "23.5", "name": '<&"\u2028'}


async def test_pull_waits_and_misses_nothing_between_requests(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon, p_format="json")
    await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    ack, _ = await ask(daemon, p_event="listen", p_id=id, p_mode="stream")
    assert (ack["p_event"], ack["p_mode"]) == ("listen-ack", "pull")
    waiting = Deferred.fromCoroutine(ask(daemon, p_event="refresh", p_id=id))
    await until(lambda: b"pushlet" in daemon_connections(daemon), "a held request")
    await daemon.publish("a", "one")
    _, one, _ = await waiting
    assert one["data"] == "one"
    await daemon.publish("a", "two")
    await daemon.publish("a/b/c", "three")
    await daemon.publish("ab", "other")
    _, *data, _ = await ask(daemon, p_event="refresh", p_id=id)
    assert [each["data"] for each in data] == ["two", "three"]


def daemon_connections(daemon):
    return b"pushlet" if daemon._service._counters.connections["pushlet"] else b""


async def test_poll_answers_at_once_and_names_its_wait(start_daemon):
    daemon = await start_daemon(SETTINGS)
    events = await ask(daemon, p_event="join-listen", p_format="json", p_mode="poll", p_subject="/a")
    assert [each["p_event"] for each in events] == ["join-listen-ack", "refresh"]
    assert int(events[1]["p_wait"]) > 0


async def test_unsubscribe_heartbeat_and_leave(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon, p_format="json")
    (ack,) = await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    for event, query in (("unsubscribe", {"p_sid": ack["p_sid"]}), ("hb", {}), ("leave", {})):
        assert (await ask(daemon, p_event=event, p_id=id, **query))[0]["p_event"] == f"{event}-ack"
    (nack,) = await ask(daemon, p_event="hb", p_id=id, p_format="json", status=400)
    assert nack["p_event"] == "nack"


@pytest.mark.parametrize(
    "query", [{"p_event": "nope", "p_id": "x"}, {"p_event": "hb", "p_id": "x"}, {"p_event": "hb"}, {}]
)
async def test_a_request_of_no_session_has_the_status_400(start_daemon, query):
    """As by Pushlet: the Java client, which ignores a nack, would send the request again without a pause."""
    daemon = await start_daemon(SETTINGS)
    (nack,) = await ask(daemon, status=400, p_format="xml", **query)
    assert nack["p_event"] == "nack"
    assert nack["p_reason"]
    assert 'parent.push("p_event","nack"' in await ask_js(daemon, **query)


@pytest.mark.parametrize(
    "query", [{"p_event": "nope"}, {"p_event": "unsubscribe", "p_sid": "s9"}, {"p_event": "publish"}]
)
async def test_what_is_refused_gets_a_nack_in_the_format_of_the_session(start_daemon, query):
    daemon = await start_daemon(SETTINGS)
    (nack,) = await ask(daemon, p_id=await join(daemon, p_format="xml-strict"), **query)
    assert nack["p_event"] == "nack"
    id = id_in(await ask_js(daemon, p_event="join"))
    assert 'parent.push("p_event","nack"' in await ask_js(daemon, p_id=id, **query)


@pytest.mark.parametrize("event", ["join", "join-listen"])
async def test_serialized_objects_are_refused_with_the_status_200(start_daemon, event):
    daemon = await start_daemon(SETTINGS)
    answer = await daemon.request("GET", f"/pushlet.srv?p_event={event}&p_format=ser&p_subject=/a")
    assert answer.status == 200
    assert 'parent.push("p_event","nack"' in answer.body.decode()


async def test_a_message_to_one_client_is_not_sent_to_all(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon)
    await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    (nack,) = await ask(daemon, p_event="publish", p_id=id, p_subject="/a", p_to=id, data="secret")
    assert nack["p_event"] == "nack"
    _, *data, _ = await ask(daemon, p_event="listen", p_mode="poll", p_id=id)
    assert data == []


async def test_acks_have_the_subscription(start_daemon):
    daemon = await start_daemon(SETTINGS)
    query = {"p_mode": "poll", "p_subject": "/a,/b", "p_label": "x"}
    ack, _ = await ask(daemon, p_event="join-listen", p_format="json", **query)
    assert (ack["p_subject"], ack["p_label"]) == ("/a,/b", "x")
    again, _ = await ask(daemon, p_event="listen", p_id=ack["p_id"], **query)
    assert again["p_sid"] == ack["p_sid"]
    (ack,) = await ask(daemon, p_event="unsubscribe", p_id=ack["p_id"], p_sid=ack["p_sid"])
    assert ack["p_subject"] == "/a,/b"


async def test_a_request_that_waits_is_answered_when_its_client_leaves(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon)
    await ask(daemon, p_event="listen", p_id=id, p_mode="pull", p_subject="/a")
    waiting = Deferred.fromCoroutine(ask(daemon, p_event="refresh", p_id=id))
    await until(lambda: daemon_connections(daemon), "a held request")
    await ask(daemon, p_event="leave", p_id=id)
    assert [each["p_event"] for each in await waiting] == ["refresh-ack"]
    assert not daemon.subscribers("a")


async def test_a_session_of_a_refused_request_is_not_kept(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.pushlet]\nsessions = 1\n")
    daemon = await start_daemon(SETTINGS, file=file)
    for event in ("join-listen", "listen"):  # which the Java client sends again at once when the status is 200
        query = {} if event == "join-listen" else {"p_id": await join(daemon)}
        (nack,) = await ask(daemon, p_event=event, p_format="xml", p_mode="poll", p_subject="/*x", status=400, **query)
        assert nack["p_event"] == "nack"


async def test_requests_of_the_script_for_pages(start_daemon):
    """The requests of `ajax-pushlet-client.js` of Pushlet 2.0.4, whose parser takes the first node for the root."""
    daemon = await start_daemon(SETTINGS)

    async def send(query):
        answer = await daemon.request("GET", f"/pushlet.srv?{query}")
        assert answer.headers["content-type"].startswith("text/xml")
        assert answer.body.startswith(b"<pushlet><event ")
        assert b"/><" in answer.body and b"\n" not in answer.body and b"='" not in answer.body
        return [dict(each.attrib) for each in ElementTree.fromstring(answer.body)]

    strict = "p_format=xml-strict&p_mode=pull"
    ack, refresh = await send(f"p_event=join-listen&{strict}&p_subject=%2Fa")
    assert (ack["p_event"], refresh["p_event"], refresh["p_wait"]) == ("join-listen-ack", "refresh", "0")
    id = ack["p_id"]
    waiting = Deferred.fromCoroutine(send(f"p_event=refresh&p_id={id}"))
    await until(lambda: daemon_connections(daemon), "a held request")
    (ack,) = await send(f"p_event=subscribe&p_subject=%2Fb&p_label=x&p_id={id}")
    assert ack["p_event"] == "subscribe-ack"
    assert [each["p_event"] for each in await waiting] == ["refresh-ack", "refresh"], (
        "it waits for the new subject, too"
    )
    await send(f"p_event=publish&p_subject=%2Fb&text=%3C%22%27%0A&p_id={id}")
    _, data, _ = await send(f"p_event=refresh&p_id={id}")
    assert (data["p_subject"], data["text"]) == ("/b", "<\"'\n")
    assert [each["p_event"] for each in await send(f"p_event=leave&p_id={id}")] == ["leave-ack"]


async def test_listening_again_adds_no_subscription(start_daemon):
    daemon = await start_daemon(SETTINGS | {"limits.topics": 2})
    id = await join(daemon, p_format="json")
    for _ in range(3):  # as the Java client does when a stream was cut
        ack, _ = await ask(daemon, p_event="listen", p_id=id, p_mode="stream", p_subject="/a")
        assert ack["p_event"] == "listen-ack"


async def test_subscriptions_to_one_subject_are_limited(start_daemon):
    daemon = await start_daemon(SETTINGS | {"limits.topics": 4})
    id = await join(daemon)
    for _ in range(2):
        ack = (await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a"))[0]
        assert ack["p_event"] == "subscribe-ack"
    (nack,) = await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    assert "too-many" in nack["p_reason"]
    await ask(daemon, p_event="unsubscribe", p_id=id, p_sid=ack["p_sid"])
    assert (await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a"))[0]["p_event"] == "subscribe-ack"


async def test_a_label_forges_nothing(start_daemon):
    daemon = await start_daemon(SETTINGS)
    label = "</script><script>alert(1)</script>\"'<!--\u2028\n></event>"
    query = {"p_event": "subscribe", "p_subject": "/a", "p_label": label}
    for kind in ("xml", "xml-strict", "json"):
        (ack,) = await ask(daemon, p_id=await join(daemon, p_format=kind), **query)
        assert (ack["p_event"], ack["p_label"]) == ("subscribe-ack", label)
    body = await ask_js(daemon, p_id=id_in(await ask_js(daemon, p_event="join")), **query)
    assert body.count("</script>") == 1
    assert not any(each in body for each in ("<!--", "\u2028"))


async def test_frames_load_the_next_request_by_themselves(start_daemon):
    body = await ask_js(await start_daemon(SETTINGS), p_event="join-listen", p_mode="pull", p_subject="/a")
    assert re.search(r'<script>again\("\?p_id=\w+&p_event=refresh&p_since=\w+-0",0\)</script>', body)


async def test_scripts_contain_no_tags_of_publishers(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = id_in(await ask_js(daemon, p_event="join", p_format="js"))
    await ask_js(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    await daemon.publish("a", "</script><!--\u2028")
    body = await ask_js(daemon, p_event="listen", p_id=id, p_mode="pull")
    assert body.count("</script>") == 4
    assert not any(each in body for each in ("<!--", "\u2028"))


async def ask_js(daemon, **query):
    answer = await daemon.request("GET", f"/pushlet.srv?{urlencode(query)}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.body.decode()


def id_in(body):
    (id,) = re.findall(r'"p_id","(\w+)"', body)
    return id


async def test_pages_of_other_origins_cannot_publish(start_daemon):
    daemon = await start_daemon(SETTINGS)
    answer = await daemon.request("GET", "/pushlet.srv?p_event=join", None, {"Origin": "https://evil.example"})
    assert answer.status == 403


async def test_any_data_is_delivered(start_daemon):
    daemon = await start_daemon(SETTINGS)
    id = await join(daemon, p_format="json")
    await ask(daemon, p_event="subscribe", p_id=id, p_subject="/a")
    texts = [
        '{"x":{"y":1}}',
        "[" * 900 + "]" * 900,
        '{"p_subject":"/b","p_event":"abort"}',
        '{"n":1e400}',
        "7",
        '{"a":1,"b":null}',
    ]
    for text in texts:
        await daemon.request("POST", "/pub/a", text.encode(), {"Content-Type": "application/json"})
    await daemon.request("POST", "/pub/a", b"\xff\x00")
    _, *data, _ = await ask(daemon, p_event="listen", p_id=id, p_mode="poll")
    assert {(each["p_event"], each["p_subject"]) for each in data} == {("data", "/a")}
    assert (data[0]["data"], data[2]["data"], data[-1]["data_base64"]) == (texts[0], texts[2], "/wA=")


async def test_every_access_needs_the_grant_of_the_request(start_daemon, tmp_path):
    reader, writer = "reader-Kq3vXw8ZpT5nRb1c", "writer-Kq3vXw8ZpT5nRb1c"
    credentials = Credentials(tmp_path)
    credentials.write({reader: only(("subscribe", "history")), writer: only(("publish",))})
    daemon = await start_daemon(SETTINGS, file=credentials.file)
    assert (await daemon.request("GET", "/pushlet.srv?p_event=join")).status in (200, 401)
    join = {"p_event": "join", "p_format": "xml"}
    ids = {token: (await ask(daemon, bearer(token), **join))[0]["p_id"] for token in (reader, writer)}

    async def try_it(token, event, subject, id=None):
        query = {"p_event": event, "p_id": id or ids[token], "p_subject": subject, "p_mode": "poll"}
        status = 400 if id or event == "listen" else 200
        return (await ask(daemon, bearer(token), status, p_format="xml", **query))[0]["p_event"]

    assert await try_it(reader, "subscribe", "/room/a") == "subscribe-ack"
    assert await try_it(reader, "subscribe", "/other") == "nack"
    assert await try_it(reader, "listen", "/other") == "nack"
    assert await try_it(reader, "publish", "/room/a") == "nack"
    assert await try_it(writer, "subscribe", "/room/a") == "nack"
    assert await try_it(writer, "publish", "/room/a") == "publish-ack"
    assert await try_it(writer, "hb", "/room/a", ids[reader]) == "nack", "a session is of its creator"
    events = await ask(daemon, bearer(reader), p_event="refresh", p_id=ids[reader])
    assert [each["p_event"] for each in events] == ["refresh-ack", "data", "refresh"]


async def test_sessions_are_limited_and_expire(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text("[dialects.pushlet]\nsessions = 1\n")
    daemon = await start_daemon(SETTINGS, file=file)
    id = await join(daemon)
    (nack,) = await ask(daemon, p_event="join", p_format="xml")
    assert "too-many-connections" in nack["p_reason"]
    await ask(daemon, p_event="leave", p_id=id)
    await join(daemon)

"""The mode stream of Pushlet by raw HTTP, as its Java and JavaScript clients use it."""

import re

import pytest

from tests.dialects.test_session_streams import SETTINGS, PushletClient, Stream

NO_MESSAGES = r'^<event p_event="listen-ack" p_id="\w+" p_mode="stream" p_format="xml"/>\n$'


@pytest.mark.parametrize("event", ["listen", "join-listen"])
async def test_the_stream_begins_with_the_ack(start_daemon, event):
    daemon = await start_daemon(SETTINGS)
    client = PushletClient(daemon)
    if event == "listen":
        stream = await client.begin(["a"])
    else:
        stream = Stream(daemon, "/pushlet.srv?p_event=join-listen&p_format=xml&p_mode=stream&p_subject=/a")
        stream.head = await stream.client.head
    await stream.has(f'p_event="{event}-ack"', 'p_mode="stream"')
    await daemon.publish("a/b", "text1")
    await stream.has('p_subject="/a/b"', 'data="text1"')
    assert stream.head.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"(<event( \w+=\"[^\"<]*\")+/>\n){2}", stream.text)


async def test_subjects_change_during_a_stream(start_daemon):
    daemon = await start_daemon(SETTINGS)
    client = PushletClient(daemon)
    await client.begin(["a"])
    await client.send("unsubscribe")
    stream = await client.open(p_event="listen", p_mode="stream")  # as the Java client, which subscribes later
    await stream.has("listen-ack")
    assert re.match(NO_MESSAGES, stream.text)
    await daemon.publish("b", "text0")
    (sid,) = re.findall(r'p_sid="(\w+)"', await client.send("subscribe", p_subject="/b"))
    await client.send("subscribe", p_subject="/c")
    await daemon.publish("b", "text1")
    await client.send("unsubscribe", p_sid=sid)
    await daemon.publish("b", "text2")
    await daemon.publish("c", "text3")
    await stream.has("text1", "text3")
    assert "text0" not in stream.text
    assert "text2" not in stream.text
    assert not stream.has_ended


async def test_a_page_has_padding_and_a_script_for_each_event(start_daemon):
    daemon = await start_daemon(SETTINGS)
    client = PushletClient(daemon, kind="js")
    stream = await client.begin(["a"])
    await daemon.publish("a", "</script>")
    await stream.has('"p_subject","/a"')
    page, _, scripts = stream.text.partition("-->")
    assert len(page) > 1024
    assert page.count("<script>parent.push(") == page.count("<script>watch(") == 1
    assert scripts.count("<script>parent.push(") == scripts.count("</script>") == 1
    assert stream.head.headers["content-type"] == "text/html; charset=utf-8"
    again = await client.resume()
    await stream.client.answer
    await client.leave()
    await again.client.answer


async def test_requests_of_the_script_for_frames(start_daemon):
    """The requests of `js-pushlet-client.js` of Pushlet 2.0.4, which names neither a format nor, by default, a mode."""
    daemon = await start_daemon(SETTINGS)

    async def send(query):
        answer = await daemon.request("GET", f"/pushlet.srv?{query}")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert (
            "content-security-policy" not in answer.headers
            or "script-src" not in answer.headers["content-security-policy"]
        )
        return answer.body.decode()

    (id,) = re.findall(r'parent.push\("p_event","join-ack","p_id","(\w+)"', await send("p_event=join"))
    stream = Stream(daemon, f"/pushlet.srv?p_id={id}&p_event=listen&p_subject=/a")
    await stream.has('"listen-ack"', '"p_mode","stream"', '"p_format","js"')
    assert "hb-ack" in await send(f"p_event=hb&p_id={id}")
    assert "publish-ack" in await send(f"p_event=publish&p_subject=/a&text=%C3%A9&p_id={id}")
    await stream.has('"text","é"')
    assert "leave-ack" in await send(f"p_event=leave&p_id={id}")
    await stream.client.answer


@pytest.mark.parametrize("kind", ["xml-strict", "json"])
async def test_documents_are_pulled(start_daemon, kind):
    daemon = await start_daemon(SETTINGS)
    answer = await daemon.request("GET", f"/pushlet.srv?p_event=join-listen&p_format={kind}&p_mode=stream&p_subject=/a")
    assert (b'"pull"' in answer.body, b"refresh" in answer.body) == (True, True)

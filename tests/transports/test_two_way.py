"""What a connection that takes commands does with them: TCP lines and the subprotocol pushd.v1."""

import json

import pytest

from tests.transports.client import Closed, Received, Refused
from tests.transports.daemon import turns, until
from tests.transports.every_client import TWO_WAY, UNCONFINED, each_client
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.websocket_client import CommandWebSocket, JsonWebSocket

REFS = [
    "1",
    '"x"',
    "null",
    "true",
    "1.5e3",
    "[1,[2]]",
    '{"a":{"ref":2}}',
    '"\\n\\u2028\\""',
    "123456789012345678901234567890",
]


async def unsubscribe(client, topics):
    """Unsubscribe; give the topics that the answer names."""
    if isinstance(client, JsonWebSocket):
        return (await client.ask(unsubscribe=topics))["unsubscribe"]
    return (await client.ask(f"UNSUB {topics}")).removeprefix("UNSUB").strip()


async def publish(client, channel, text):
    """Publish; give id and number of subscribers."""
    if isinstance(client, JsonWebSocket):
        answer = await client.ask(publish=channel, data=text)
        return answer["id"], answer["subscribers"]
    words = (await client.ask(f"PUB {channel} {text}")).split()
    return words[0], int(words[1])


@each_client(TWO_WAY)
async def test_after_unsub_only_the_other_topics_are_received(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a,b,c/*")
    assert await unsubscribe(client, "a,c/*") == "a,c/*"
    await daemon.publish_all(("a", "1"), ("b", "2"), ("c/d", "3"), ("b", "4"))
    assert await client.data(2) == [b"2", b"4"]
    assert daemon.subscribers("a") == []
    assert await unsubscribe(client, "a") == ""
    await client.subscribe("a")
    await daemon.publish("a", "5")
    assert await client.data(1) == [b"5"]


@each_client(UNCONFINED)
async def test_an_unsubscribed_channel_is_still_received_by_a_pattern(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a/b")
    await client.subscribe("a/*")
    await unsubscribe(client, "a/b")
    await daemon.publish("a/b", "1")
    await unsubscribe(client, "a/*")
    await daemon.publish("a/b", "2")
    await client.subscribe("c")
    await daemon.publish("c", "3")
    assert await client.data(2) == [b"1", b"3"]


@each_client(UNCONFINED)
async def test_each_subscription_of_a_connection_has_its_own_start_position(daemon, client_class):
    ids = await daemon.publish_all(("a", "a1"), ("b", "b1"), ("c", "c1"), ("b", "b2"))
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    await client.subscribe("b", since=ids[1])
    await client.subscribe("c")
    assert await client.data(2) == [b"a1", b"b2"]
    await daemon.publish_all(("a", "a2"), ("b", "b3"), ("c", "c2"))
    assert await client.data(3) == [b"a2", b"b3", b"c2"]


@each_client(UNCONFINED)
async def test_a_publisher_receives_its_own_message_and_is_counted(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    id, subscribers = await publish(client, "a", "mine")
    assert subscribers == 1
    assert await client.next() == Received(
        id if client_class.has_ids else None, "a" if client_class.has_channels else None, b"mine", None
    )
    assert (await publish(client, "b", "nobody's"))[1] == 0


@each_client(TWO_WAY)
async def test_a_refused_command_changes_nothing(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for topics, options in (("a b", {}), ("", {}), ("b", {"since": "x"}), ("b", {"slow": "x"}), ("b//c", {})):
        with pytest.raises(Refused):
            await client.subscribe(topics, **options)
    await daemon.publish_all(("b", "1"), ("a", "2"))
    assert await client.data(1) == [b"2"]
    assert daemon.subscribers("b") == []


@each_client(UNCONFINED)
async def test_pipelined_commands_are_answered_in_order(daemon, client_class):
    await daemon.publish_all(*[("a", f"{number}") for number in range(600)])
    client = client_class(daemon)
    await client.subscribe("b")
    if isinstance(client, JsonWebSocket):
        asked = [
            client.ask(subscribe="a", since="all", ref=0),
            client.ask(ping=1, ref=1),
            client.ask(publish="a", data="x", ref=2),
            client.ask(unsubscribe="a", ref=3),
            client.ask(nonsense=1, ref=4),
            client.ask(ping=1, ref=5),
        ]
        assert [(await answer)["ref"] for answer in asked] == [0, 1, 2, 3, 4, 5]
    else:
        lines = ["SUB a since=all", "PING x", "PUB a x", "UNSUB a", "NONSENSE", "ping", "", "QUIT"]
        asked = [client.send(line) for line in lines if line]
        answers = [await answer for answer in asked]
        assert answers[0].startswith("+OK SUB a cursor=")
        assert answers[1] == "PONG x"
        assert answers[2].startswith("+OK ")
        assert answers[3:] == [
            "+OK UNSUB a",
            "-ERR unknown-command unknown command; HELP lists the commands",
            "PONG",
            "+OK bye",
        ]
    assert await client.data(600) == [b"%d" % number for number in range(600)]


@each_client(TWO_WAY)
async def test_nothing_is_received_after_the_reply_to_unsub(daemon, client_class):
    """All in one segment, with an end: what is queued for an unsubscribed topic is discarded."""
    client = client_class(daemon)
    await client.subscribe("a,b")
    if isinstance(client, JsonWebSocket):
        asked = [
            client.ask(publish="a", data="early"),
            client.ask(publish="b", end=True),
            client.ask(unsubscribe="a"),
        ]
    else:
        commands = ("PUB a early", 'PUBJ {"channel":"b","end":true}', "UNSUB a")
        asked = [client.send(command) for command in commands]
    await asked[-1]
    received: list[object] = []
    client.deliver_result = received.append
    await turns(50)
    assert [item for item in received if isinstance(item, Received)] == []


# Lines


@each_client((TextLines, JsonLines, RawLines))
async def test_the_format_can_change_at_any_time_and_applies_after_the_reply(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    lines: list[bytes] = []
    client.news = lines.append
    for name in ("json", "text", "raw", "TEXT", "json", "raw"):
        assert await client.ask(f"FORMAT {name}") == f"FORMAT {name.lower()}"
        await daemon.publish("a", name)
        await until(lambda: lines, "the message")
        (line,) = lines
        lines.clear()
        assert {"j": b"{", "t": b"M", "r": b"r"}[name[0].lower()] == line[:1]
        assert line.endswith(b"\r") is (name != "raw")
    with pytest.raises(Refused, match="bad-command"):
        await client.ask("FORMAT yaml")


async def test_lines_have_a_greeting_any_case_and_lf_or_crlf(daemon):
    client = TextLines(daemon)
    client.open()
    assert (await client.ask("sub a")).startswith("SUB a cursor=")
    assert (client.greeting["server"], client.greeting["max_payload"]) == ("pushd", 1 << 20)
    client.protocol.transport.write(b"Pub a by LF\npUB a by CRLF\r\n\n\r\n")
    assert await client.data(2) == [b"by LF", b"by CRLF"]


@pytest.mark.parametrize("size", [1, 7, 500])
async def test_lines_can_be_received_in_any_pieces(daemon, size):
    client = TextLines(daemon)
    await client.subscribe("a")
    text = b"".join(b"PUB a %d\r\n" % number for number in range(100))
    for start in range(0, len(text), size):
        client.protocol.transport.write(text[start : start + size])
        await turns(1)
    assert await client.data(100) == [b"%d" % number for number in range(100)]


@each_client((TextLines, JsonLines, RawLines))
async def test_a_half_closed_client_gets_its_replies(daemon, client_class):
    await daemon.publish_all(*[("a", f"{number}") for number in range(600)])
    client = client_class(daemon)
    client.open()
    first, last = client.send("SUB a since=all"), client.send("PUB a last")
    client.protocol.transport.loseWriteConnection()
    assert (await first).startswith("+OK SUB a cursor=")
    assert await client.data(600) == [b"%d" % number for number in range(600)]
    assert (await last).startswith("+OK ")
    assert len(await daemon.history("a")) == 601
    items = [await client.next()]
    if isinstance(items[0], Received):
        items.append(await client.next())
    assert items[-1] == Closed(None, True)


async def test_quit_is_answered_and_closes(daemon):
    client = TextLines(daemon)
    client.open()
    assert await client.ask("QUIT") == "bye"
    assert await client.next() == Closed(None, True)


# WebSocket


@pytest.mark.parametrize("ref", REFS)
async def test_a_ref_can_be_any_json_value_and_is_repeated_by_replies_and_refusals(daemon, ref):
    client = JsonWebSocket(daemon)
    await client.open()
    for command in ('"ping":1', '"subscribe":"a"', '"publish":"a","data":1', '"unsubscribe":"a"', '"auth":"x"'):
        answer = await client.send(f'{{{command},"ref":{ref}}}')
        assert (answer["ref"], answer["ok"]) == (json.loads(ref), True)
    for command in ('"subscribe":"a b"', '"publish":"a"', '"nonsense":1', '"ping":1,"more":2', '"subscribe":3'):
        answer = await client.send(f'{{{command},"ref":{ref}}}')
        assert answer["ref"] == json.loads(ref)
        assert answer["error"].keys() == {"code", "message"}


async def test_a_command_without_a_ref_is_answered_with_null(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    assert await client.ask(ping="T") == {"ref": None, "ok": True, "pong": "T"}
    for text in ("", "[]", "1", "{", '{"ref":1', "null"):
        answer = await client.send(text)
        assert (answer["ref"], answer["error"]["code"]) == (None, "bad-json")


async def test_text_that_is_not_utf_8_closes_with_1007(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    client.protocol.sendMessage(b'{"ping":"\xff"}', isBinary=False)
    assert await client.next() == Closed(1007, True)


async def test_a_binary_command_is_refused_and_the_connection_stays(daemon):
    client = CommandWebSocket(daemon)
    await client.subscribe("a")
    assert (await client.send('{"ping":1}', is_binary=True))["error"]["code"] == "bad-command"
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]


@each_client(UNCONFINED)
@pytest.mark.parametrize("topics", [("o/a", "o/**"), ("o/**", "o/a"), ("o/a,o/b", "**")], ids=" then ".join)
async def test_promise_2_the_history_of_overlapping_topics_is_received_once(any_daemon, client_class, topics):
    first, second = topics
    await any_daemon.publish_all(("o/a", "1"), ("o/a", "2"))
    client = client_class(any_daemon)
    await client.subscribe(first, since="all")
    assert await client.data(2) == [b"1", b"2"]
    await any_daemon.publish("o/a", "3")
    assert await client.data(1) == [b"3"]
    await client.subscribe(second, since="all")
    await any_daemon.publish("o/a", "live")
    assert await client.data(1) == [b"live"]


@each_client(UNCONFINED)
async def test_promise_2_a_wider_topic_brings_the_history_of_the_other_channels(any_daemon, client_class):
    await any_daemon.publish_all(("o/a", "1"), ("o/b", "2"), ("o/a", "3"), ("o/c", "4"))
    client = client_class(any_daemon)
    await client.subscribe("o/a", since="last:1")
    assert await client.data(1) == [b"3"]
    await client.subscribe("o/**", since="all")
    assert await client.data(3) == [b"1", b"2", b"4"]
    await client.subscribe("o/a", since="all")
    await any_daemon.publish("o/a", "live")
    assert await client.data(1) == [b"live"]

"""What a connection that takes commands does with them: TCP lines and the subprotocol pushd.v1."""

import json

import pytest

from tests.transports.daemon import turns, until
from tests.transports.each import TWO_WAY, UNCONFINED, each
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.peers import Closed, Heard, Refused
from tests.transports.sockets import CommandedSocket, JsonSocket

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


async def unsubscribe(peer, topics):
    """Unsubscribe; give the topics that the answer names."""
    if isinstance(peer, JsonSocket):
        return (await peer.ask(unsubscribe=topics))["unsubscribe"]
    return (await peer.ask(f"UNSUB {topics}")).removeprefix("UNSUB").strip()


async def publish(peer, channel, text):
    """Publish; give id and number of subscribers."""
    if isinstance(peer, JsonSocket):
        answer = await peer.ask(publish=channel, data=text)
        return answer["id"], answer["subscribers"]
    words = (await peer.ask(f"PUB {channel} {text}")).split()
    return words[0], int(words[1])


@each(TWO_WAY)
async def test_after_unsub_only_the_other_topics_are_received(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a,b,c/*")
    assert await unsubscribe(peer, "a,c/*") == "a,c/*"
    await daemon.publish_all(("a", "1"), ("b", "2"), ("c/d", "3"), ("b", "4"))
    assert await peer.data(2) == [b"2", b"4"]
    assert daemon.subscribers("a") == []
    assert await unsubscribe(peer, "a") == ""
    await peer.subscribe("a")
    await daemon.publish("a", "5")
    assert await peer.data(1) == [b"5"]


@each(UNCONFINED)
async def test_an_unsubscribed_channel_is_still_received_by_a_pattern(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a/b")
    await peer.subscribe("a/*")
    await unsubscribe(peer, "a/b")
    await daemon.publish("a/b", "1")
    await unsubscribe(peer, "a/*")
    await daemon.publish("a/b", "2")
    await peer.subscribe("c")
    await daemon.publish("c", "3")
    assert await peer.data(2) == [b"1", b"3"]


@each(UNCONFINED)
async def test_each_subscription_of_a_connection_has_its_own_start_position(daemon, way):
    ids = await daemon.publish_all(("a", "a1"), ("b", "b1"), ("c", "c1"), ("b", "b2"))
    peer = way(daemon)
    await peer.subscribe("a", since="all")
    await peer.subscribe("b", since=ids[1])
    await peer.subscribe("c")
    assert await peer.data(2) == [b"a1", b"b2"]
    await daemon.publish_all(("a", "a2"), ("b", "b3"), ("c", "c2"))
    assert await peer.data(3) == [b"a2", b"b3", b"c2"]


@each(UNCONFINED)
async def test_a_publisher_receives_its_own_message_and_is_counted(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    id, subscribers = await publish(peer, "a", "mine")
    assert subscribers == 1
    assert await peer.next() == Heard(id if way.tells_ids else None, "a" if way.tells_channels else None, b"mine", None)
    assert (await publish(peer, "b", "nobody's"))[1] == 0


@each(TWO_WAY)
async def test_a_refused_command_changes_nothing(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    for topics, options in (("a b", {}), ("", {}), ("b", {"since": "x"}), ("b", {"slow": "x"}), ("b//c", {})):
        with pytest.raises(Refused):
            await peer.subscribe(topics, **options)
    await daemon.publish_all(("b", "1"), ("a", "2"))
    assert await peer.data(1) == [b"2"]
    assert daemon.subscribers("b") == []


@each(UNCONFINED)
async def test_pipelined_commands_are_answered_in_order(daemon, way):
    await daemon.publish_all(*[("a", f"{number}") for number in range(600)])
    peer = way(daemon)
    await peer.subscribe("b")
    if isinstance(peer, JsonSocket):
        asked = [
            peer.ask(subscribe="a", since="all", ref=0),
            peer.ask(ping=1, ref=1),
            peer.ask(publish="a", data="x", ref=2),
            peer.ask(unsubscribe="a", ref=3),
            peer.ask(nonsense=1, ref=4),
            peer.ask(ping=1, ref=5),
        ]
        assert [(await answer)["ref"] for answer in asked] == [0, 1, 2, 3, 4, 5]
    else:
        lines = ["SUB a since=all", "PING x", "PUB a x", "UNSUB a", "NONSENSE", "ping", "", "QUIT"]
        asked = [peer.send(line) for line in lines if line]
        answers = [await answer for answer in asked]
        assert answers[0] == "+OK SUB a"
        assert answers[1] == "PONG x"
        assert answers[2].startswith("+OK ")
        assert answers[3:] == [
            "+OK UNSUB a",
            "-ERR unknown-command unknown command; HELP lists the commands",
            "PONG",
            "+OK bye",
        ]
    assert await peer.data(600) == [b"%d" % number for number in range(600)]


@each(TWO_WAY)
async def test_nothing_is_received_after_the_reply_to_unsub(daemon, way):
    """All in one segment, an end among it: what is on its way to the subscriber when it leaves is let go."""
    peer = way(daemon)
    await peer.subscribe("a,b")
    if isinstance(peer, JsonSocket):
        asked = [
            peer.ask(publish="a", data="early"),
            peer.ask(publish="b", end=True),
            peer.ask(unsubscribe="a"),
        ]
    else:
        commands = ("PUB a early", 'PUBJ {"channel":"b","end":true}', "UNSUB a")
        asked = [peer.send(command) for command in commands]
    await asked[-1]
    heard: list[object] = []
    peer.deliver_result = heard.append
    await turns(50)
    assert [item for item in heard if isinstance(item, Heard)] == []


# Lines


@each((TextLines, JsonLines, RawLines))
async def test_the_format_can_change_at_any_time_and_applies_after_the_reply(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    lines: list[bytes] = []
    peer.news = lines.append
    for name in ("json", "text", "raw", "TEXT", "json", "raw"):
        assert await peer.ask(f"FORMAT {name}") == f"FORMAT {name.lower()}"
        await daemon.publish("a", name)
        await until(lambda: lines, "the message")
        (line,) = lines
        lines.clear()
        assert {"j": b"{", "t": b"M", "r": b"r"}[name[0].lower()] == line[:1]
        assert line.endswith(b"\r") is (name != "raw")
    with pytest.raises(Refused, match="bad-command"):
        await peer.ask("FORMAT yaml")


async def test_lines_have_a_greeting_any_case_and_lf_or_crlf(daemon):
    peer = TextLines(daemon)
    peer.open()
    assert await peer.ask("sub a") == "SUB a"
    assert (peer.greeting["server"], peer.greeting["max_payload"]) == ("pushd", 1 << 20)
    peer.protocol.transport.write(b"Pub a by LF\npUB a by CRLF\r\n\n\r\n")
    assert await peer.data(2) == [b"by LF", b"by CRLF"]


@pytest.mark.parametrize("size", [1, 7, 500])
async def test_lines_can_be_received_in_any_pieces(daemon, size):
    peer = TextLines(daemon)
    await peer.subscribe("a")
    text = b"".join(b"PUB a %d\r\n" % number for number in range(100))
    for start in range(0, len(text), size):
        peer.protocol.transport.write(text[start : start + size])
        await turns(1)
    assert await peer.data(100) == [b"%d" % number for number in range(100)]


@each((TextLines, JsonLines, RawLines))
async def test_a_half_closed_client_gets_its_replies(daemon, way):
    await daemon.publish_all(*[("a", f"{number}") for number in range(600)])
    peer = way(daemon)
    peer.open()
    first, last = peer.send("SUB a since=all"), peer.send("PUB a last")
    peer.protocol.transport.loseWriteConnection()
    assert await first == "+OK SUB a"
    assert await peer.data(600) == [b"%d" % number for number in range(600)]
    assert (await last).startswith("+OK ")
    assert len(await daemon.history("a")) == 601
    items = [await peer.next()]
    if isinstance(items[0], Heard):
        items.append(await peer.next())
    assert items[-1] == Closed(None, True)


async def test_quit_is_answered_and_closes(daemon):
    peer = TextLines(daemon)
    peer.open()
    assert await peer.ask("QUIT") == "bye"
    assert await peer.next() == Closed(None, True)


# WebSocket


@pytest.mark.parametrize("ref", REFS)
async def test_a_ref_can_be_any_json_value_and_is_repeated_by_replies_and_refusals(daemon, ref):
    peer = JsonSocket(daemon)
    await peer.open()
    for command in ('"ping":1', '"subscribe":"a"', '"publish":"a","data":1', '"unsubscribe":"a"', '"auth":"x"'):
        answer = await peer.send(f'{{{command},"ref":{ref}}}')
        assert (answer["ref"], answer["ok"]) == (json.loads(ref), True)
    for command in ('"subscribe":"a b"', '"publish":"a"', '"nonsense":1', '"ping":1,"more":2', '"subscribe":3'):
        answer = await peer.send(f'{{{command},"ref":{ref}}}')
        assert answer["ref"] == json.loads(ref)
        assert answer["error"].keys() == {"code", "message"}


async def test_a_command_without_a_ref_is_answered_with_null(daemon):
    peer = JsonSocket(daemon)
    await peer.open()
    assert await peer.ask(ping="T") == {"ref": None, "ok": True, "pong": "T"}
    for text in ("", "[]", "1", "{", '{"ref":1', "null"):
        answer = await peer.send(text)
        assert (answer["ref"], answer["error"]["code"]) == (None, "bad-json")


async def test_text_that_is_not_utf_8_closes_with_1007(daemon):
    peer = JsonSocket(daemon)
    await peer.open()
    peer.protocol.sendMessage(b'{"ping":"\xff"}', isBinary=False)
    assert await peer.next() == Closed(1007, True)


async def test_a_binary_command_is_refused_and_the_connection_stays(daemon):
    peer = CommandedSocket(daemon)
    await peer.subscribe("a")
    assert (await peer.send('{"ping":1}', is_binary=True))["error"]["code"] == "bad-command"
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]

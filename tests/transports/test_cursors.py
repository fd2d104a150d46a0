"""The cursors that clients, polyfills and caches send, and what is answered to them."""

import pytest

from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, address, encode_request

POLLS = ("poll", "longpoll")
RECONNECT = ("lastEventId", "lastEventID", "last_event_id", "Last-Event-ID")


async def ask(daemon, resource, topics="a", headers=None, **query):
    if resource == "longpoll":
        query.setdefault("timeout", 0)
    return await daemon.request("GET", address(resource, topics, **query), headers=headers)


def texts(answer):
    return [message["data"] for message in answer.json] if answer.status == 200 else []


async def publish(daemon, *data):
    return [await daemon.publish("a", each, "text/plain") for each in data]


@pytest.mark.parametrize("resource", POLLS)
async def test_revalidation_does_not_overrule_the_cursor_of_the_query(daemon, resource):
    await publish(daemon, "1")
    first = await ask(daemon, resource, since="all")
    await publish(daemon, "2")
    again = await ask(daemon, resource, since="all", headers={"If-None-Match": first.headers["etag"]})
    assert (texts(first), texts(again)) == (["1"], ["1", "2"])
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("old", ["OLDEPOCH-5", "future"])
async def test_raw_long_poll_with_a_lost_cursor_moves_on_instead_of_looping(daemon, old):
    (last,) = await publish(daemon, "1")
    epoch, _, seq = last.partition("-")
    tag = f'"{epoch}-{int(seq) + 1000}"' if old == "future" else f'"{old}"'
    first = await ask(daemon, "longpoll", "b", format="raw", headers={"If-None-Match": tag})
    assert first.headers["etag"] != tag
    path = address("longpoll", "b", format="raw", timeout=30)
    request = encode_request("GET", path, None, {"If-None-Match": first.headers["etag"]})
    waiting = daemon.connect("http", HttpClient(request))
    await until(lambda: daemon.subscribers("b"), "the second poll waits")
    await daemon.publish("b", "2")
    assert (await waiting.answer).body == b"2"


@pytest.mark.parametrize("resource", [*POLLS, "history", "sse"])
@pytest.mark.parametrize("name", RECONNECT)
async def test_names_of_the_reconnect_parameter(daemon, resource, name):
    one, _ = await publish(daemon, "1", "2")
    if resource == "sse":
        request = encode_request("GET", address("sse", "a", **{name: one}))
        client = daemon.connect("http", HttpClient(request, lambda data: None))
        await client.head
        assert [subscriber.sent for subscriber in daemon.subscribers("a")] == [1]
        return
    assert texts(await ask(daemon, resource, **{name: one})) == ["2"]


@pytest.mark.parametrize("resource", [*POLLS, "history"])
async def test_what_a_client_adds_wins_over_the_address_of_the_page(daemon, resource):
    one, two, _ = await publish(daemon, "1", "2", "3")
    assert texts(await ask(daemon, resource, since="all", lastEventID=two)) == ["3"]
    assert texts(await ask(daemon, resource, since="all", headers={"Last-Event-ID": two})) == ["3"]
    assert texts(await ask(daemon, resource, last_event_id=one, lastEventID=two)) == ["3"]
    assert texts(await ask(daemon, resource, lastEventId=two, headers={"Last-Event-ID": one})) == ["3"]
    assert texts(await ask(daemon, resource, lastEventID="all")) == ["1", "2", "3"]


@pytest.mark.parametrize("resource", POLLS)
@pytest.mark.parametrize(
    "form", ['"{}"', 'W/"{}"', '"{}-gzip"', '"{}--gzip"', 'W/"{}-br"', '"{}", "E-1"', '"{}" , W/"{}-gzip"', "{}"]
)
async def test_forms_of_an_entity_tag(daemon, resource, form):
    one, _ = await publish(daemon, "1", "2")
    answer = await ask(daemon, resource, headers={"If-None-Match": form.replace("{}", one)})
    assert texts(answer) == ["2"]


@pytest.mark.parametrize("resource", POLLS)
async def test_newest_of_a_list_of_entity_tags_counts(daemon, resource):
    one, two, _ = await publish(daemon, "1", "2", "3")
    answer = await ask(daemon, resource, headers={"If-None-Match": f'"{one}", "{two}"'})
    assert texts(answer) == ["3"]


async def test_asterisk_is_no_cursor(daemon):
    await publish(daemon, "1", "2")
    assert texts(await ask(daemon, "poll", headers={"If-None-Match": "*"})) == ["2"]


@pytest.mark.parametrize("tag", ["0", '""', '"all"', '"10m"', '"last:3"'])
async def test_entity_tag_of_an_answer_is_always_an_id(daemon, tag):
    last = await daemon.publish("other", "x")
    answer = await ask(daemon, "longpoll", "quiet", headers={"If-None-Match": tag})
    assert (answer.status, answer.headers["etag"]) == (304, f'"{last}"')
    assert answer.headers["pushd-id"] == last


@pytest.mark.parametrize("resource", [*POLLS, "history", "sse", "stream", "mixed", "multipart", "pull", "sub"])
async def test_last_event_id_takes_ids_only(daemon, resource):
    await publish(daemon, "1")
    for header in ("17", "all", "10m", "last:2"):
        answer = await ask(daemon, resource, headers={"Last-Event-ID": header})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-since"), header

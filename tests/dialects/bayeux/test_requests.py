"""Requests of Bayeux: their forms, errors, credentials and origins."""

import json
import time
from urllib.parse import quote

import pytest
import pytest_twisted

from pushd.dialects.bayeux import z85
from tests.auth.jwt_issuer import ISS, SECRET, claims, hmac_token
from tests.authorization.credentials import SETUP, Credentials, bearer, only, subject_of
from tests.dialects.bayeux.client import Bayeux, data
from tests.transports.daemon import MovableReactor, until

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}
PAGE = "https://app.example"


@pytest_twisted.async_fixture
async def daemon(start_daemon):
    """A daemon that serves Bayeux."""
    return await start_daemon(SETTINGS)


@pytest_twisted.async_fixture
async def client(daemon):
    """A client with a session."""
    client = Bayeux(daemon)
    await client.handshake()
    return client


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("", "400::channel_missing"),
        ("a", "405:a:bad-channel"),
        ("/", "405:/:bad-channel"),
        ("/a//b", "405:/a//b:bad-channel"),
        ("/a/*", "405:/a/*:bad-channel"),
        ("/$sys/a", "403:/$sys/a:forbidden"),
        ("/pushd/gap", "403:/pushd/gap:forbidden"),
        ("/meta/other", "404:/meta/other:unknown_meta_channel"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_publish_to_what_is_no_channel_is_refused(client, channel, error):
    reply = await client.publish(channel, 1)
    assert not reply["successful"]
    assert reply["error"].startswith(error)


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("a", 405),
        ("/a/*/b", 405),
        ("/**/b", 405),
        ("/a//b", 405),
        ("/meta/connect", 403),
        ("/meta/*", 403),
        ("/pushd/gap", 403),
    ],
)
@pytest_twisted.ensureDeferred
async def test_subscription_to_what_is_no_topic_is_refused(client, channel, code):
    reply = await client.subscribe(channel)
    assert not reply["successful"]
    assert reply["error"].startswith(f"{code}:")


@pytest_twisted.ensureDeferred
async def test_subscription_to_a_service_is_accepted_and_means_nothing(client):
    assert (await client.subscribe("/service/a"))["successful"]
    assert (await client.send("/meta/subscribe"))["error"] == "403::subscription_missing"
    await client.subscribe("/**")
    await client.daemon.publish("service/a", "1")
    await client.daemon.publish("meta/connect", "2")
    await client.daemon.publish("pushd/gap", "3")
    await client.daemon.publish("a", "4")
    assert data(await client.connect()) == ["4"]


@pytest_twisted.ensureDeferred
async def test_publish_without_data_is_refused(client):
    assert (await client.send("/a"))["error"] == "400:/a:data_missing"
    assert (await client.publish("/a", None))["successful"]


@pytest_twisted.ensureDeferred
async def test_bad_message_does_not_affect_the_others(client):
    bad, good = await client.post({"channel": "/a", "id": "7", "clientId": 1}, client.message("/a", data=1))
    assert (bad["channel"], bad["id"], bad["successful"]) == ("/a", "7", False)
    assert bad["error"].startswith("400::message_invalid")
    assert good["successful"]


@pytest_twisted.ensureDeferred
async def test_id_is_echoed_with_its_type(client):
    replies = await client.post(client.message("/a", data=1, id=7), client.message("/a", data=1, id="7"))
    assert [reply["id"] for reply in replies] == [7, "7"]


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"\xff"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_envelope_is_answered_by_400(daemon, body):
    answer = await Bayeux(daemon).request(body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-json")


@pytest.mark.parametrize("path", ["/cometd", "/cometd/", "/cometd/handshake", "/bayeux", "/bayeux/connect"])
@pytest_twisted.ensureDeferred
async def test_kind_of_message_may_follow_the_path(daemon, path):
    message = {"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}
    answer = await Bayeux(daemon).request(json.dumps(message).encode(), path)
    assert answer.json[0]["successful"]
    assert (await Bayeux(daemon).request(b"{}", "/cometd/a/b")).status == 404


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
@pytest_twisted.ensureDeferred
async def test_envelope_may_be_the_field_of_a_form(daemon, kind):
    message = {"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling"]}
    client = Bayeux(daemon, {"Content-Type": kind})
    answer = await client.request(b"message=" + quote(json.dumps([message])).encode())
    assert answer.json[0]["successful"]
    assert (await client.request(json.dumps([message]).encode())).json[0]["successful"]


@pytest_twisted.ensureDeferred
async def test_callback_polling_answers_with_a_script(daemon, client):
    await client.subscribe("/a")
    await daemon.publish("a", "\u2028</script>")
    message = quote(json.dumps([client.message("/meta/connect")]))
    answer = await daemon.request("GET", f"/cometd/connect?message={message}&jsonp=parent.f")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.body.startswith(b"/**/parent.f([{")
    assert answer.body.endswith(b"]);")
    assert "\u2028" not in answer.body.decode()
    refused = await daemon.request("GET", f"/cometd?message={message}&jsonp=alert(1)")
    assert (refused.status, refused.json["error"]["code"]) == (400, "bad-parameter")
    assert (await daemon.request("GET", "/cometd")).status == 400


@pytest_twisted.ensureDeferred
async def test_script_of_another_site_may_not_publish(daemon, client):
    message = quote(json.dumps([client.message("/a", data=1)]))
    answer = await daemon.request("GET", f"/cometd?message={message}", None, {"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403
    assert await daemon.info("a") is None


@pytest_twisted.ensureDeferred
async def test_binary_data_is_bytes_for_everybody(daemon, client):
    await client.subscribe("/a")
    sent = {"data": z85.encode(b"\xff\x00\x01"), "last": True}
    assert (await client.publish("/a", sent, ext={"binary": {}}))["successful"]
    _, received = await client.connect()
    assert (received["data"], received["ext"]) == (sent, {"binary": {}})
    (message,) = (await daemon.request("GET", "/history/a")).json
    assert (message["data_base64"], message["content_type"]) == ("/wAB", "application/octet-stream")


@pytest_twisted.ensureDeferred
async def test_clock_of_a_client_is_answered(client):
    (reply,) = await client.post(client.connect_message(0) | {"ext": {"timesync": {"tc": 5, "l": 0, "o": 0}}})
    answer = reply["ext"]["timesync"]
    assert (answer["tc"], answer["p"] >= 0, answer["a"]) == (5, True, 5 - answer["ts"])
    clocks: list[object] = [{"tc": "x"}, {"tc": 10**400, "l": 0.5}, {"tc": True}, []]
    for clock in clocks:
        bad = client.connect_message(0) | {"ext": {"timesync": clock}}
        assert "ext" not in (await client.post(bad))[0]


# Pages of other origins


@pytest.mark.parametrize("allowed", [PAGE, "*"])
@pytest_twisted.ensureDeferred
async def test_allowed_origin_is_echoed_with_credentials(start_daemon, allowed):
    daemon = await start_daemon(SETTINGS | {"http.allow_origins": allowed})
    client = Bayeux(daemon, {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    answer = await client.request(b'{"channel":"/meta/handshake","supportedConnectionTypes":["long-polling"]}')
    preflight = await daemon.request(
        "OPTIONS", "/cometd", None, {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    )
    for each in (answer, preflight):
        assert each.headers["access-control-allow-origin"] == PAGE
        assert each.headers["access-control-allow-credentials"] == "true"
        assert each.headers["vary"] == "Origin"
    names = {name.strip().lower() for name in preflight.headers["access-control-allow-headers"].split(",")}
    assert {"content-type", "x-requested-with", "pragma"} <= names


@pytest_twisted.ensureDeferred
async def test_other_origin_is_refused(daemon):
    client = Bayeux(daemon, {"Origin": PAGE})
    answer = await client.request(b'{"channel":"/meta/handshake","supportedConnectionTypes":["long-polling"]}')
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


# Credentials


async def guarded(start_daemon, tmp_path, tokens, **settings):
    credentials = Credentials(tmp_path)
    credentials.write(tokens)
    return credentials, await start_daemon(SETTINGS | settings, None, credentials.file)


READER, WRITER = "reader-Kq3vXw8ZpT5nRb1c", "writer-Kq3vXw8ZpT5nRb1c"
TOKENS = {READER: only(["subscribe", "history"]), WRITER: only(["publish"])}


@pytest_twisted.ensureDeferred
async def test_handshake_needs_a_credential(start_daemon, tmp_path):
    _, daemon = await guarded(start_daemon, tmp_path, TOKENS)
    reply = await Bayeux(daemon).handshake()
    assert reply["error"].startswith("403::token-missing")
    assert reply["advice"] == {"reconnect": "none"}
    reply = await Bayeux(daemon).handshake(ext={"pushd": {"token": "x"}})
    assert reply["error"].startswith("403::token-invalid")


@pytest.mark.parametrize("place", ["header", "pushd", "authentication"])
@pytest_twisted.ensureDeferred
async def test_grant_is_that_of_the_credential(start_daemon, tmp_path, place):
    _, daemon = await guarded(start_daemon, tmp_path, TOKENS)
    clients = {}
    for token in (READER, WRITER):
        client = clients[token] = Bayeux(daemon, bearer(token) if place == "header" else None)
        ext = {} if place == "header" else {"ext": {place: {"token": token}}}
        assert (await client.handshake(**ext))["successful"]
    reader, writer = clients[READER], clients[WRITER]
    assert (await reader.subscribe("/room/a"))["successful"]
    assert (await reader.subscribe("/other"))["error"].startswith("403:/meta/subscribe:forbidden")
    assert (await reader.publish("/room/a", 1))["error"].startswith("403:/room/a:forbidden")
    assert (await writer.subscribe("/room/a"))["error"].startswith("403:")
    assert (await writer.publish("/room/a", 1))["successful"]
    _, message = await reader.connect()
    assert message["data"] == 1
    assert message["ext"]["pushd"]["from"]


@pytest_twisted.ensureDeferred
async def test_session_belongs_to_its_subject(start_daemon, tmp_path):
    _, daemon = await guarded(start_daemon, tmp_path, TOKENS)
    reader = Bayeux(daemon, bearer(READER))
    await reader.handshake()
    thief = Bayeux(daemon, bearer(WRITER))
    thief.id = reader.id
    assert (await thief.connect(0))[0]["error"].startswith("403:")
    assert (await thief.publish("/room/a", 1))["error"].startswith("403:")
    assert (await reader.connect(0))[0]["successful"]


@pytest_twisted.ensureDeferred
async def test_reload_takes_rights_away(start_daemon, tmp_path):
    credentials, daemon = await guarded(start_daemon, tmp_path, TOKENS)
    reader = Bayeux(daemon)
    await reader.handshake(ext={"pushd": {"token": READER}})
    await reader.subscribe("/room/a")
    _, answer = reader.start(reader.connect_message(3000))
    await until(lambda: daemon.subscribers("room/a"), "the connect is held")
    credentials.write({WRITER: TOKENS[WRITER]})
    await daemon.reload()
    reply = (await answer).json[0]
    assert not reply["successful"]
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}
    assert (await reader.connect(0))[0]["error"] == "402::session_unknown"
    idle = Bayeux(daemon)
    assert (await idle.handshake(ext={"pushd": {"token": WRITER}}))["successful"]
    credentials.write({})
    await daemon.reload()
    assert (await idle.publish("/room/a", 1))["error"] == "402::session_unknown"


@pytest_twisted.ensureDeferred
async def test_revocation_ends_a_session_between_two_connects(start_daemon, tmp_path):
    _, daemon = await guarded(start_daemon, tmp_path, TOKENS)
    reader, other = Bayeux(daemon), Bayeux(daemon)
    await reader.handshake(ext={"pushd": {"token": READER}})
    await other.handshake(ext={"pushd": {"token": WRITER}})
    revocation = json.dumps({"sub": subject_of(READER)}).encode()
    assert (await daemon.request("POST", "/auth/revocations", revocation, bearer(SETUP))).status == 201
    (reply,) = await reader.connect(0)
    assert reply["error"].startswith("403::token-revoked")
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}
    assert (await other.connect(0))[0]["successful"]


@pytest_twisted.ensureDeferred
async def test_session_ends_when_its_token_has_expired_unless_it_was_renewed(start_daemon, tmp_path):
    file, secret = tmp_path / "pushd.toml", tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    file.write_text(
        f'[auth.issuer.shop]\nissuer = "{ISS}"\naudience = "pushd"\n'
        f'algorithms = ["HS256"]\nsecret_files = ["{secret}"]\n'
    )
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor, file)
    clock, began = daemon._service.hub.credentials._unix_time, time.time()

    def token(seconds: int) -> str:
        lasts = {"iat": round(began), "exp": round(began) + seconds}
        return hmac_token(body=claims(pushd={"subscribe": ["**"], "history": ["**"]}, **lasts))

    idle, held, renewed = [Bayeux(daemon) for _ in range(3)]
    for client in (idle, held, renewed):
        await client.handshake(ext={"pushd": {"token": token(3600)}})
        await client.subscribe("/a")
    renewed.headers |= bearer(token(7200))
    _, answer = held.start(held.connect_message(300_000))
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    assert (await renewed.connect(0))[0]["successful"]
    del renewed.headers["Authorization"]
    clock._read = lambda: began + 3700
    await reactor.pass_time(3)
    for reply in ((await answer).json[0], (await idle.connect(0))[0]):
        assert reply["error"].startswith("403::token-expired"), reply
        assert reply["advice"] == {"reconnect": "handshake", "interval": 0}
    assert (await idle.connect(0))[0]["error"] == "402::session_unknown"
    assert (await renewed.connect(0))[0]["successful"]

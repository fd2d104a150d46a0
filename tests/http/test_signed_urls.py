"""Signed URLs at the daemon: what each method and resource accepts, and what else a request may carry."""

import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from pushd_client import sign_url

from tests.auth.signed_url_vectors import KEY_ID, SECRET
from tests.transports.daemon import RunningDaemon, until, until_ready
from tests.transports.http_client import Answer, HttpClient, encode_request
from tests.transports.websocket_client import JsonWebSocket

TOKEN = "a token of a test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OTHER_SECRET = SECRET[::-1]
EVERYTHING = ["GET", "HEAD", "POST", "PUT", "DELETE"]


class SignedDaemon:
    """A daemon that accepts signed URLs; anonymous peers may do nothing but read `public`."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self.key, tokens, self.config = folder / "web.key", folder / "tokens.toml", folder / "pushd.toml"
        self.key.write_bytes(SECRET)
        tokens.write_text(
            f'[all]\nsha256 = "{sha256(TOKEN.encode()).hexdigest()}"\nsub = "all"\nsubscribe = ["**"]\n'
            'publish = ["**"]\nmanage = ["**"]\noperate = ["*"]\n'
        )
        tokens.chmod(0o600)
        self.text = f'[auth]\ntokens_file = "{tokens}"\n[auth.anonymous]\nsubscribe = ["public"]\n'
        self.keys = f'[auth.url_keys]\n{KEY_ID} = "{self.key}"\n'
        self.config.write_text(self.text + self.keys)
        self.daemon = RunningDaemon(settings, file=self.config)

    @property
    def signed_urls(self) -> Any:
        """The verifier of the daemon."""
        return self.daemon._service._authentication.signed_urls

    def pass_time(self, seconds: float) -> None:
        """Set the clock of the verifier forward."""
        self.signed_urls._time = lambda: time.time() + seconds

    def sign(self, path: str, method: str = "GET", **options: Any) -> str:
        """Return a URL that expires in five minutes."""
        return sign_url(path, (KEY_ID, SECRET), method=method, **options)

    async def ask(self, url: str, method: str = "GET", **headers: str) -> Answer:
        """Send a request; names of headers have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = b"x" if method in ("POST", "PUT") else None
        return await self.daemon.request(method, url, body, headers=named)

    async def publish(self, channel: str, data: bytes = b"x") -> str:
        """Publish with a token; return the id."""
        answer = await self.daemon.request("POST", f"/pub/{channel}", data, headers=BEARER)
        return str(answer.json["id"])

    def stream(self, url: str, **headers: str) -> HttpClient:
        """Open a stream."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client: HttpClient = self.daemon.connect("http", HttpClient(encode_request("GET", url, None, named)))
        return client


@pytest_twisted.async_yield_fixture
async def signed(tmp_path: Path) -> AsyncIterator[SignedDaemon]:
    """A daemon that accepts signed URLs."""
    daemon = SignedDaemon(tmp_path, {"auth.query_tokens": "true"})
    await daemon.daemon.start()
    yield daemon
    await daemon.daemon.cut_off()
    await daemon.daemon.stop()


def code(answer: Answer) -> str:
    """Return the code of a refusal."""
    return str(answer.json["error"]["code"])


async def test_each_method_is_accepted_with_its_signature_only(signed: SignedDaemon) -> None:
    reading, writing = signed.sign("/pub/a"), signed.sign("/pub/a", "POST")
    await signed.publish("a")
    assert [(await signed.ask(reading, method)).status for method in EVERYTHING] == [200, 200, 401, 401, 401]
    assert [(await signed.ask(writing, method)).status for method in EVERYTHING] == [401, 401, 202, 202, 401]


@pytest.mark.parametrize("path", ["/history/a", "/poll/a", "/cursor/a", "/pub/a", "/pull/a", "/longpoll/a?timeout=0"])
async def test_reading_resources_accept_signed_urls_and_their_answers_send_no_referrer(
    signed: SignedDaemon, path: str
) -> None:
    await signed.publish("a")
    answer = await signed.ask(signed.sign(path))
    assert answer.status in (200, 204)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"].startswith("private, ")
    refused = await signed.ask(signed.sign(path).replace("sig=", "sig=A"))
    assert (refused.status, code(refused)) == (401, "token-invalid")
    assert refused.headers["referrer-policy"] == "no-referrer"
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("path", ["/channels", "/connections", "/metrics", "/version", "/channels?prefix=a"])
async def test_operations_are_not_granted(signed: SignedDaemon, path: str) -> None:
    answer = await signed.ask(signed.sign(path))
    if path != "/version":
        assert (answer.status, code(answer)) == (403, "forbidden")


async def test_stream_is_warned_before_until(signed: SignedDaemon) -> None:
    now = int(time.time())
    stream = signed.stream(signed.sign("/sse/a", exp=now + 20, until=now + 25))
    await until(lambda: b"event: expiring" in b"".join(stream._pieces), "the warning")
    assert f'"at":{now + 25}'.encode() in b"".join(stream._pieces)


async def test_signed_url_cannot_renew_the_token_of_a_connection(signed: SignedDaemon) -> None:
    signed.stream(signed.sign("/sse/a", sub="alice"))
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    (subscriber,) = signed.daemon.subscribers("a")
    path = f"/connections/{subscriber.peer.id}/auth"
    answer = await signed.ask(signed.sign(path, "POST", sub="alice"), "POST")
    assert (answer.status, code(answer)) == (403, "forbidden")
    answer = await signed.ask(path, "POST", **BEARER)
    assert answer.status == 404
    assert list(signed.daemon.subscribers("a")) == [subscriber]


async def test_batch_is_granted_nothing(signed: SignedDaemon) -> None:
    line = b'{"channel":"a","data":"x"}\n'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await signed.daemon.request("POST", signed.sign("/pub", "POST"), line, headers=headers)
    assert answer.status == 200 and answer.json["error"]["code"] == "forbidden"


async def test_history_of_a_signed_url_can_be_read_from_a_cursor(signed: SignedDaemon) -> None:
    first = await signed.publish("a", b"1")
    await signed.publish("a", b"2")
    url = signed.sign("/history/a?since=all&limit=5")
    assert [each["data"] for each in (await signed.ask(url)).json] == ["1", "2"]
    other = url.replace("since=all", "since=now")
    assert code(await signed.ask(other)) == "token-invalid"
    assert [each["data"] for each in (await signed.ask(url + f"&lastEventId={first}")).json] == ["2"]


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID", "last_event_id", "Last-Event-ID"])
@pytest.mark.parametrize("as_header", [True, False])
async def test_stream_reconnects_after_exp_with_the_cursor_of_any_polyfill(
    signed: SignedDaemon, name: str, as_header: bool
) -> None:
    url = signed.sign("/sse/a", until=int(time.time()) + 7200)
    stream = signed.stream(url)
    assert (await stream.head).status == 200
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    stream.transport.abortConnection()
    first = await signed.publish("a", b"1")
    await signed.publish("a", b"2")
    signed.pass_time(3600)
    assert code(await signed.ask(signed.sign("/sse/a"))) == "token-expired"
    again = signed.stream(url, Last_Event_ID=first) if as_header else signed.stream(f"{url}&{name}={first}")
    assert (await again.head).status == 200
    await until(lambda: b"data: 2" in b"".join(again._pieces), "the missed message")
    assert b"data: 1" not in b"".join(again._pieces)
    signed.pass_time(7201)
    assert code(await signed.ask(url)) == "token-expired"
    expired = await signed.ask(f"{url}&{name}={first}")
    assert (expired.status, expired.headers["referrer-policy"]) == (200, "no-referrer")
    assert b"event: expired" in expired.body and b'"code":"token-expired"' in expired.body
    assert code(await signed.ask(f"{url}A&{name}={first}")) == "token-invalid"


@pytest.mark.parametrize(
    "other",
    [
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {TOKEN}"},
        {"Sec_WebSocket_Protocol": f"pushd.v1, bearer.{TOKEN}"},
        {"token": TOKEN},
    ],
)
async def test_other_credential_beside_a_signature_is_a_bad_request(
    signed: SignedDaemon, other: dict[str, str]
) -> None:
    url = signed.sign("/pub/a?token=x" if other.pop("token", "") else "/pub/a")
    answer = await signed.ask(url, **other)
    assert (answer.status, code(answer)) == (400, "bad-request")
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("headers", [{"Cookie": "__Host-pushd=x"}, {"Authorization": "Basic eDp5"}])
async def test_cookie_and_other_schemes_beside_a_signature_are_ignored(
    signed: SignedDaemon, headers: dict[str, str]
) -> None:
    await signed.publish("a")
    assert (await signed.ask(signed.sign("/pub/a"), **headers)).status == 200


async def test_forged_signature_is_not_taken_as_none(signed: SignedDaemon) -> None:
    await signed.publish("public")
    assert (await signed.ask("/pub/public")).status == 200
    assert (await signed.ask("/pub/public?exp=1&kid=web&until=2&sub=a")).status == 200
    for query in ("sig=", "sig=x", "sig=x&kid=web", "sig=x&kid=web&exp=1", "s%69g=x", "a=b&sig", "sig=&sig="):
        answer = await signed.ask(f"/pub/public?{query}")
        assert answer.status == (400 if query.count("sig") == 2 else 401)


async def test_parameters_of_a_signature_are_known_on_every_resource_but_never_suggested(signed: SignedDaemon) -> None:
    await signed.publish("a")
    assert (await signed.ask(signed.sign("/pub/a?sid=1&ts=2&id=3"))).status == 200
    url = signed.sign("/pub/a?event=x", "POST", sub="alice")
    assert (await signed.ask(url, "POST")).status == 202
    refused = await signed.ask(signed.sign("/pub/a?kit=x", "POST"), "POST")
    assert (refused.status, code(refused)) == (400, "bad-parameter")
    assert "did you mean" not in refused.json["error"]["message"]


async def test_without_keys_the_parameters_mean_nothing(tmp_path: Path, signed: SignedDaemon) -> None:
    await signed.publish("public")
    url, writing = signed.sign("/pub/public"), signed.sign("/pub/public", "POST")
    secret = signed.sign("/pub/a")
    signed.config.write_text(signed.text)
    await signed.daemon.reload()
    assert (await signed.ask(url)).status == 200
    assert "referrer-policy" not in (await signed.ask(url)).headers
    assert code(await signed.ask(secret)) == "token-missing"
    written = await signed.daemon.request("POST", writing, b"x", headers=BEARER)
    assert (written.status, code(written)) == (400, "bad-parameter")


async def test_reload_reads_the_keys_again(signed: SignedDaemon) -> None:
    await signed.publish("a")
    url = signed.sign("/pub/a")
    other = sign_url("/pub/a", (KEY_ID, OTHER_SECRET), exp=int(time.time()) + 300)
    assert [(await signed.ask(each)).status for each in (url, other)] == [200, 401]
    signed.key.write_bytes(OTHER_SECRET)
    await signed.daemon.reload()
    assert [(await signed.ask(each)).status for each in (url, other)] == [401, 200]
    signed.key.write_bytes(b"too short")
    await signed.daemon.reload()
    assert [(await signed.ask(each)).status for each in (url, other)] == [401, 200]
    assert any("must have at least 32 bytes (has 9)" in line for line in signed.daemon.log)


async def test_both_keys_are_accepted_during_a_rotation(signed: SignedDaemon, tmp_path: Path) -> None:
    await signed.publish("a")
    (tmp_path / "next.key").write_bytes(OTHER_SECRET)
    signed.config.write_text(signed.text + signed.keys + f'next = "{tmp_path}/next.key"\n')
    await signed.daemon.reload()
    expires = int(time.time()) + 300
    urls = (
        signed.sign("/pub/a"),
        sign_url("/pub/a", ("next", OTHER_SECRET), exp=expires),
        sign_url("/pub/a", ("next", SECRET), exp=expires),
        sign_url("/pub/a", (KEY_ID, OTHER_SECRET), exp=expires),
    )
    assert [(await signed.ask(url)).status for url in urls] == [200, 200, 401, 401]


async def test_removed_key_closes_the_connections_of_its_urls(signed: SignedDaemon) -> None:
    url = signed.sign("/sse/a")
    signed.stream(url)
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    await signed.daemon.reload()
    assert signed.daemon.subscribers("a")
    signed.config.write_text(signed.text + "[auth.url_keys]\n")
    await signed.daemon.reload()
    assert not signed.daemon.subscribers("a")
    assert (await signed.ask(url)).status == 401


async def test_changed_secret_closes_the_connections_of_its_urls(signed: SignedDaemon) -> None:
    url = signed.sign("/sse/a")
    client = signed.stream(url)
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    signed.key.write_bytes(OTHER_SECRET)
    await signed.daemon.reload()
    assert not signed.daemon.subscribers("a")
    assert client is not None and (await signed.ask(url)).status == 401
    other = sign_url("/sse/a", (KEY_ID, OTHER_SECRET), exp=int(time.time()) + 300)
    signed.stream(other)
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    await signed.daemon.reload()
    assert signed.daemon.subscribers("a")


@pytest.mark.parametrize("is_durable", [True, False])
async def test_first_use_survives_a_restart_with_the_history(tmp_path: Path, is_durable: bool) -> None:
    settings: dict[str, object] = {"backend.data_dir": tmp_path / "data"} if is_durable else {}
    used = ""
    statuses: list[int] = []
    for _ in range(2):
        signed = SignedDaemon(tmp_path, settings)
        await signed.daemon.start()
        await until_ready(signed.daemon)
        used = used or signed.sign("/cursor/a")
        signed.pass_time(3600 if statuses else 0)
        statuses.append((await signed.ask(used)).status)
        await signed.daemon.stop()
    assert statuses == [200, 200 if is_durable else 401]


async def test_subject_of_the_url_is_that_of_the_peer(signed: SignedDaemon) -> None:
    signed.stream(signed.sign("/sse/a", sub="alice"))
    await until(lambda: signed.daemon.subscribers("a"), "the subscriber")
    (subscriber,) = signed.daemon.subscribers("a")
    assert (subscriber.peer.grant.subject, subscriber.peer.issuer) == ("alice", "url:web")


@pytest.mark.parametrize("subject", [None, "alice"])
async def test_websocket_is_confined_to_its_topics_and_only_subscribes(
    signed: SignedDaemon, subject: str | None
) -> None:
    url = signed.sign("/ws/a,b/*", sub=subject)
    client = JsonWebSocket(signed.daemon)
    await client.open(url)
    commands: list[tuple[dict[str, object], str | None]] = [
        ({"subscribe": "a"}, None),
        ({"subscribe": "b/1", "since": "all"}, None),
        ({"subscribe": "c"}, "forbidden"),
        ({"subscribe": "b/**"}, "forbidden"),
        ({"publish": "a", "data": "x"}, "forbidden"),
        ({"publish": "c", "data": "x"}, "forbidden"),
        ({"auth": TOKEN}, "forbidden"),
        ({"publish": "a", "data": "x"}, "forbidden"),
    ]
    for command, expected in commands:
        answer = await client.ask(**command)
        assert answer.get("error", {}).get("code") == expected, command


@pytest.mark.parametrize("name", ["cafe%CC%81", "%FF", "a%00", "a//b", "%2E%2E/a", "a%0Ab"])
async def test_signature_makes_no_invalid_name_valid(signed: SignedDaemon, name: str) -> None:
    for method, resource in (("GET", "history"), ("POST", "pub")):
        answer = await signed.ask(signed.sign(f"/{resource}/{name}", method), method)
        assert answer.status == 400


async def test_percent_encoding_and_order_of_the_request_do_not_matter(signed: SignedDaemon) -> None:
    url = signed.sign("/history/news/*?limit=3&since=all")
    path, _, query = url.partition("?")
    pairs = query.split("&")
    for written in (
        f"{path}?{'&'.join(reversed(pairs))}",
        f"/history/news%2f%2A?{'&'.join(pairs)}",
        f"/h%69story/new%73/*?&&{'&'.join(pairs).replace('limit', 'l%69mit')}",
    ):
        assert (await signed.ask(written)).status == 200


async def test_client_pull_reloads_with_its_signature(signed: SignedDaemon) -> None:
    first = await signed.publish("a", b"1")
    url = signed.sign("/pull/a?interval=0")
    answer = await signed.ask(url)
    refresh = answer.headers["refresh"]
    assert refresh.startswith("0; url=?") and refresh.endswith(f"&lastEventId={first}")
    following = "/pull/a" + refresh.partition("url=")[2]
    await signed.publish("a", b"2")
    signed.pass_time(3600)
    answer = await signed.ask(following)
    assert answer.status == 200 and b"<pre>2</pre>" in answer.body
    assert (
        await signed.ask("/pull/a" + answer.headers["refresh"].partition("url=")[2].replace("&sig", "&x"))
    ).status == 401


async def test_log_has_no_signature(tmp_path: Path) -> None:
    signed = SignedDaemon(tmp_path, {"log.access": "1"})
    await signed.daemon.start()
    try:
        good = signed.sign("/history/a", sub="mallory")
        for url in (good, good + "A", signed.sign("/sse/a?wrong=1", "POST")):
            await signed.ask(url)
            assert not any(url.partition("sig=")[2] in line or "sig=" in line for line in signed.daemon.log)
        assert any("/history/a" in line for line in signed.daemon.log)
    finally:
        await signed.daemon.stop()


async def test_revocation_of_the_subject_refuses_its_urls(signed: SignedDaemon) -> None:
    url, other = (signed.sign("/history/a", sub=subject) for subject in ("alice", "bob"))
    assert (await signed.ask(url)).status == 200
    body = b'{"sub":"alice"}'
    assert (await signed.daemon.request("POST", "/auth/revocations", body, headers=BEARER)).status == 201
    refused = await signed.ask(url)
    assert (refused.status, refused.json["error"]["code"]) == (401, "token-revoked")
    assert (await signed.ask(other)).status == 200

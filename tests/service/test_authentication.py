"""The service of authentication: what its settings allow, and what a reload changes for open connections."""

import json
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_twisted
from joserfc import jwt
from joserfc.jwk import OctKey
from twisted.internet.task import Clock

from pushd.auth.verification_keys import KeySet, parse_secret
from pushd.backends.memory import MemoryBackend
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.core.history import Bounds
from pushd.net.unix_clock import UnixClock
from pushd.service.authentication import AuthenticationService
from tests.transports.client import Closed, ErrorLine
from tests.transports.daemon import MovableReactor, RunningDaemon, until
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import CommandWebSocket

TOKEN = "a token of a test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ALICE = f"""[alice]
sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
sub = "alice"
subscribe = [{{}}]
publish = ["**"]
"""


class Files:
    """The configuration file and the tokens file of a daemon."""

    def __init__(self, folder: Path) -> None:
        self.config, self._tokens = folder / "pushd.toml", folder / "tokens.toml"
        self.write(["**"], ["public/**"])

    def write(self, alice: list[str] | None, anonymous: list[str]) -> None:
        """Write both files.

        :param alice: the topics to which the token may subscribe; None: there is no such token.
        :param anonymous: the topics to which peers without a token may subscribe.
        """
        topics = None if alice is None else json.dumps(alice)[1:-1]
        self.write_tokens("" if topics is None else ALICE.format(topics))
        self.config.write_text(
            f'[auth]\ntokens_file = "{self._tokens}"\n[auth.anonymous]\nsubscribe = {json.dumps(anonymous)}\n'
        )

    def write_tokens(self, text: str) -> None:
        """Write the tokens file."""
        self._tokens.write_text(text)
        self._tokens.chmod(0o600)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of the daemon."""
    return Files(tmp_path)


@pytest_twisted.async_yield_fixture
async def daemon(files: Files) -> AsyncIterator[RunningDaemon]:
    """A daemon with a token, and topics for anonymous peers."""
    daemon = await RunningDaemon({}, file=files.config).start()
    yield daemon
    await daemon.stop()


async def stream(daemon: RunningDaemon, path: str, headers: dict[str, str]) -> HttpClient:
    """Open a stream, and return its client."""
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", path, None, headers)))
    await until(lambda: bool(daemon.subscribers(path.rpartition("/")[2])), "the subscriber")
    return client


@pytest.mark.parametrize(
    ("alice", "anonymous", "is_kept"),
    [
        (["**"], [], (True, False)),
        (["a"], ["public/**", "b"], (True, True)),
        (["other"], ["b"], (False, True)),
        (None, ["*"], (False, True)),
    ],
)
async def test_reload_closes_connections_whose_topics_are_not_granted_any_more(
    daemon: RunningDaemon, files: Files, alice: list[str] | None, anonymous: list[str], is_kept: tuple[bool, bool]
) -> None:
    files.write(["**"], ["b"])
    await daemon.reload()
    await stream(daemon, "/sse/a", BEARER)
    await stream(daemon, "/stream/b", {})
    files.write(alice, anonymous)
    await daemon.reload()
    assert (bool(daemon.subscribers("a")), bool(daemon.subscribers("b"))) == is_kept
    assert (await daemon.request("GET", "/history/a", headers=BEARER)).status == (
        401 if alice is None else 200 if is_kept[0] else 403
    )


async def test_reload_changes_the_rate_and_the_quota_of_open_connections(files: Files) -> None:
    def write(rate: int, subscriptions: int) -> None:
        quota = f"{{ messages_per_second = {rate}, subscriptions = {subscriptions} }}"
        files.write_tokens(ALICE.format(json.dumps("**")) + f"quota = {quota}\n")

    write(1, 1)
    reactor = MovableReactor()
    daemon = await RunningDaemon({}, reactor, files.config).start()
    try:
        websocket = CommandWebSocket(daemon)
        await websocket.open()
        assert (await websocket.ask(auth=TOKEN))["ok"]
        assert (await websocket.ask(subscribe="b"))["ok"]
        assert (await websocket.ask(subscribe="c"))["error"]["code"] == "too-many-subscriptions"
        answers = [await daemon.request("POST", "/pub/a", b"x", headers=BEARER) for _ in range(11)]
        assert [answer.status for answer in answers] == [*[202] * 10, 429]
        assert (await websocket.ask(publish="a", data="x"))["error"]["code"] == "rate-limited"
        write(10, 2)
        await daemon.reload()
        await reactor.pass_time(1)
        answers = [await daemon.request("POST", "/pub/a", b"x", headers=BEARER) for _ in range(11)]
        assert [answer.status for answer in answers] == [*[202] * 10, 429]
        assert (await websocket.ask(subscribe="c"))["ok"]
    finally:
        await daemon.stop()


async def test_invalid_tokens_file_is_logged_and_the_previous_tokens_stay_in_use(
    daemon: RunningDaemon, files: Files
) -> None:
    files.write_tokens("[alice]\nsha256 = 1\n")
    await daemon.reload()
    assert any(line.startswith("Tokens and keys not reloaded, the previous ones stay in use: ") for line in daemon.log)
    assert (await daemon.request("GET", "/history/a", headers=BEARER)).status == 200


async def test_repeated_refusals_keep_their_status_and_ask_to_wait_longer(daemon: RunningDaemon) -> None:
    forged = {"Authorization": "Bearer forged"}
    answers = [await daemon.request("GET", "/history/a", headers=each) for each in (None, forged) * 4]
    assert [answer.status for answer in answers] == [401] * 8
    assert [answer.headers.get("retry-after") for answer in answers] == [None] * 3 + ["1", "2", "4", "8", "16"]
    assert (await daemon.request("GET", "/history/a", headers=BEARER)).status == 200


async def test_authentication_that_is_switched_on_closes_connections_of_strangers(tmp_path: Path) -> None:
    config = tmp_path / "pushd.toml"
    config.write_text("")
    daemon = await RunningDaemon({}, file=config).start()
    try:
        await stream(daemon, "/sse/a", {})
        config.write_text("[auth]\nquery_tokens = false\n")
        await daemon.reload()
        assert not daemon.subscribers("a")
        assert (await daemon.request("GET", "/history/a")).status == 401
    finally:
        await daemon.stop()


async def test_keys_that_cannot_be_fetched_are_degraded_and_the_daemon_is_ready(tmp_path: Path) -> None:
    config = tmp_path / "pushd.toml"
    config.write_text(
        '[auth.issuer.shop]\nissuer = "https://shop.example.org"\naudience = "pushd"\nalgorithms = ["ES256"]\n'
        'jwks_url = "http://127.0.0.1:1/jwks.json"\n'
    )
    daemon = await RunningDaemon({}, file=config).start()
    try:
        await until(lambda: any("shop" in line for line in daemon.log), "the failure")
        answer = await daemon.request("GET", "/health/ready")
        assert (answer.status, answer.json["ready"]) == (200, True)
        assert [line.split(":")[0] for line in answer.json["degraded"]] == ["the keys of issuer shop cannot be fetched"]
    finally:
        await daemon.stop()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[auth]\ntokens_file = "missing.toml"\n', "auth.tokens_file: missing.toml: No such file or directory"),
        (
            '[auth.issuer.shop]\nissuer = "x"\naudience = "y"\nalgorithms = ["HS256"]\nsecret_files = ["missing"]\n',
            "auth.issuer.shop.secret_files: missing: No such file or directory",
        ),
        ('[auth.url_keys]\nweb = "missing"\n', "auth.url_keys.web: missing: No such file or directory"),
    ],
)
def test_missing_file_stops_the_start_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pushd.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        AuthenticationService(
            load(Path("pushd.toml"), {}, {}).auth, Clock(), MemoryBackend(Bounds(), Clock(), Clock().seconds)
        )
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "address", ["sse", "stream", "multipart", "mixed", "longpoll", "poll", "pull", "history", "cursor", "pub", "sub"]
)
@pytest.mark.parametrize(("headers", "status"), [({}, 401), (BEARER, 403)], ids=["anonymous", "alice"])
async def test_head_is_refused_as_get_is(
    daemon: RunningDaemon, files: Files, address: str, headers: dict[str, str], status: int
) -> None:
    files.write(["other"], [])
    await daemon.reload()
    for method in ("GET", "HEAD"):
        assert (await daemon.request(method, f"/{address}/news", headers=headers)).status == status


async def test_reload_changes_the_time_in_which_connections_must_authenticate(tmp_path: Path) -> None:
    config, reactor = tmp_path / "pushd.toml", MovableReactor()
    config.write_text("[auth]\nquery_tokens = false\n")
    daemon = await RunningDaemon({}, reactor, config).start()
    try:
        for seconds in (10, 20):
            line, websocket = TextLines(daemon), CommandWebSocket(daemon)
            line.open()
            await websocket.open()
            await until(lambda: daemon.open_connections == 2, "the connections")
            await reactor.pass_time(seconds - 1)
            assert await line.ask("PING") == "PONG"
            assert "pong" in await websocket.ask(ping=1)
            await reactor.pass_time(2)
            assert [await line.next(), await line.next()] == [ErrorLine("token-missing"), Closed(None, True)]
            assert await websocket.next() == Closed(4401, True)
            await until(lambda: not daemon.open_connections, "the connections closed")
            config.write_text("[auth]\nquery_tokens = false\n[limits]\nhandshake = 20\n")
            await daemon.reload()
    finally:
        await daemon.stop()


@pytest.mark.parametrize("address", ["/cursor", "/version"])
async def test_what_concerns_all_topics_needs_any_credential(daemon: RunningDaemon, address: str) -> None:
    for method in ("GET", "HEAD"):
        assert (await daemon.request(method, address)).status == 401
        assert (await daemon.request(method, address, headers=BEARER)).status == 200


async def test_reload_logs_what_was_read(daemon: RunningDaemon, files: Files) -> None:
    files.write(None, [])
    await daemon.reload()
    assert daemon.log[-2:].count("Tokens and keys read again; static tokens: 0, issuers: 0") == 1


def test_clock_that_was_far_ahead_is_reported(files: Files) -> None:
    now = [10_000.0]
    unix_time = UnixClock(lambda: now[0])
    backend = MemoryBackend(Bounds(), Clock(), Clock().seconds)
    service = AuthenticationService(load(files.config, {}, {}).auth, Clock(), backend, unix_time)
    unix_time()
    now[0] -= 9
    assert service.failures() == []
    now[0] -= 3600
    assert service.failures() == ["the clock was set back by 3609 s: until a restart, tokens expire that early"]


ISSUER, SECRETS = "https://shop.example.org", (b"1" * 32, b"2" * 32)


class Issuing:
    """The configuration file of a daemon with an issuer, the files of its secrets, and tokens of it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "pushd.toml"
        self._files = [folder / "first.secret", folder / "second.secret"]
        for file, secret in zip(self._files, SECRETS, strict=True):
            file.write_bytes(secret)
        self.write()

    def write(self, secrets: tuple[int, ...] = (0, 1), **rules: str) -> None:
        """Write the file.

        :param secrets: the numbers of the secrets that are accepted.
        :param rules: settings that differ.
        """
        settings = {"issuer": ISSUER, "audience": "pushd", "max_lifetime": "24h"} | rules
        lines = [f'{name} = "{value}"' for name, value in settings.items()]
        files = json.dumps([str(self._files[number]) for number in secrets])
        text = "\n".join(["[auth.issuer.shop]", *lines, 'algorithms = ["HS256"]', f"secret_files = {files}", ""])
        self.config.write_text(text)

    def bearer(self, number: int) -> dict[str, str]:
        """Return the header with a token that is signed with a secret."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": ["pushd", "other"], "sub": f"s{number}", "exp": now + 600, "iat": now}
        claims["pushd"] = {"subscribe": ["**"]}
        return {"Authorization": f"Bearer {jwt.encode({'alg': 'HS256'}, claims, OctKey.import_key(SECRETS[number]))}"}


@pytest.mark.parametrize(
    ("secrets", "rules", "closed"),
    [
        ((0, 1), {}, {}),
        ((1, 0), {}, {}),
        ((0,), {}, {"token-revoked": 1}),
        ((0, 1), {"max_lifetime": "1h"}, {"kicked": 2}),
        ((0, 1), {"audience": "other"}, {"kicked": 2}),
        ((1,), {"audience": "other"}, {"kicked": 1, "token-revoked": 1}),
    ],
)
async def test_reload_closes_connections_whose_key_is_gone_or_that_must_be_verified_again(
    tmp_path: Path, secrets: tuple[int, ...], rules: dict[str, str], closed: dict[str, int]
) -> None:
    issuing = Issuing(tmp_path)
    daemon = await RunningDaemon({}, file=issuing.config).start()
    try:
        for number in (0, 1):
            await stream(daemon, f"/stream/a{number}", issuing.bearer(number))
        issuing.write(secrets, **rules)
        await daemon.reload()
        assert daemon._service._counters.disconnects == closed
        await stream(daemon, "/stream/b", issuing.bearer(secrets[0]))
        await daemon.reload()  # what was changed before closes nothing again
        assert daemon.subscribers("b")
    finally:
        await daemon.stop()


async def test_withdrawn_key_closes_the_connections_of_its_tokens_without_a_reload(tmp_path: Path) -> None:
    issuing = Issuing(tmp_path)
    daemon = await RunningDaemon({}, file=issuing.config).start()
    try:
        for number in (0, 1):
            await stream(daemon, f"/stream/a{number}", issuing.bearer(number))
        authentication = daemon._service._authentication
        (issuer,) = authentication.jwt.issuers
        issuer.keys._keys = KeySet([parse_secret(SECRETS[1], "second")])
        authentication._on_withdrawn()
        await until(lambda: not daemon.subscribers("a0"), "closed")
        assert daemon.subscribers("a1")
    finally:
        await daemon.stop()

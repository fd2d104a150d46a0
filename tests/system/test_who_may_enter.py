"""Proxies that check who may enter, with the lines of docs/proxies.md."""

import base64
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.daemon.clients import HANDSHAKE, Http
from tests.daemon.real import Daemon
from tests.system.apache import Apache
from tests.system.haproxy import HAProxy
from tests.system.nginx import Nginx
from tests.system.proxies import Proxy, documented

pytestmark = pytest.mark.system

TOKEN = "pushd_the-token-of-the-proxy"
ALICE = "pushd_the-token-of-alice"
TOKENS = f"""\
[proxy]
sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
sub = "proxy"
subscribe = ["news"]
publish = ["news"]
[alice]
sha256 = "{sha256(ALICE.encode()).hexdigest()}"
sub = "alice"
subscribe = ["users/{{sub}}"]
"""
PASSWORD = "wonderland"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that knows the token of the proxy."""
    directory = tmp_path_factory.mktemp("pushd")
    tokens = directory / "tokens.toml"
    tokens.write_text(TOKENS, encoding="utf-8")
    tokens.chmod(0o600)
    daemon = Daemon(directory, "--auth-tokens-file", str(tokens), "--stop-patience", "0")
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


def start_nginx(directory: Path, here: str, users: Path) -> Proxy:
    map_, server, basic, _ = documented("nginx")
    users.write_text(f"alice:{{PLAIN}}{PASSWORD}\n")
    server = (basic + server).replace("/etc/nginx/push.users", str(users)).replace("TOKEN", TOKEN)
    return Nginx(directory, {"www": server.replace("127.0.0.1:8080", here)}, map_)


def start_haproxy(directory: Path, here: str, users: Path) -> Proxy:
    config, login = documented("haproxy")
    users_list, _, frontend = login.partition("\nfrontend www\n")
    config = config.replace("    bind :80\n", frontend.replace("TOKEN", TOKEN))
    config += users_list.replace("password HASH", f"insecure-password {PASSWORD}")
    return HAProxy(directory, config.replace("127.0.0.1:8080", here))


def start_apache(directory: Path, here: str, users: Path) -> Proxy:
    config, login = documented("apache")
    users.write_text(f"alice:{{SHA}}{base64.b64encode(_sha1(PASSWORD)).decode()}\n")
    login = login.replace("/etc/apache2/push.users", str(users)).replace("TOKEN", TOKEN)
    modules = ("authn_core", "authn_file", "auth_basic", "authz_user", "headers")
    return Apache(directory, config.replace("127.0.0.1:8080", here) + login, modules)


def _sha1(text: str) -> bytes:
    done = subprocess.run(["openssl", "dgst", "-sha1", "-binary"], input=text.encode(), capture_output=True, check=True)
    return done.stdout


STARTS = {"nginx": start_nginx, "haproxy": start_haproxy, "apache": start_apache}


@pytest.fixture(scope="module", params=STARTS)
def port(request: pytest.FixtureRequest, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of each proxy, which asks for a password and adds its token."""
    directory = tmp_path_factory.mktemp(request.param)
    start: Callable[[Path, str, Path], Proxy] = STARTS[request.param]
    # Apache reads its file as another user, who cannot enter the directory.
    with tempfile.NamedTemporaryFile(prefix="push-users-") as users:
        Path(users.name).chmod(0o644)
        proxy = start(directory, f"127.0.0.1:{daemon.http_port}", Path(users.name))
        try:
            yield proxy.ports["www"]
        finally:
            proxy.stop()


def status(port: int, method: str, target: str, headers: dict[str, str]) -> int:
    with Http(port) as http:
        http.send_request(method, target, headers, b"x" if method == "POST" else b"")
        return http.head().status


def test_who_knows_the_password_has_the_grant_of_the_proxy(port: int) -> None:
    assert status(port, "POST", "/pub/news", BASIC) in (201, 202)
    assert status(port, "GET", "/history/news", BASIC) == 200
    assert status(port, "GET", "/sse/news", BASIC) == 200
    assert status(port, "GET", "/ws/news", BASIC | HANDSHAKE) == 101
    assert status(port, "GET", "/history/other", BASIC) == 403
    assert status(port, "GET", "/metrics", BASIC) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic " + base64.b64encode(b"alice:wrong").decode()},
        {"Authorization": f"Bearer {TOKEN}"},
        {"Cookie": f"__Host-pushd={TOKEN}", "Sec-Fetch-Site": "none"},
    ],
    ids=["nothing", "wrong password", "token", "cookie"],
)
def test_others_are_refused_by_the_proxy(port: int, headers: dict[str, str]) -> None:
    for target in ("/history/news", "/sse/news", "/health/live"):
        assert status(port, "GET", target, headers) == 401
    assert status(port, "POST", "/pub/news", headers) == 401


class _Application(BaseHTTPRequestHandler):
    """Answers with the token of Alice to requests of her session."""

    def do_GET(self) -> None:
        is_alice = self.path == "/pushd-token" and self.headers["Cookie"] == "session=alice"
        self.send_response(200 if is_alice else 401)
        if is_alice:
            self.send_header("X-Pushd-Token", ALICE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_token_of_the_session_is_added_by_nginx(daemon: Daemon, tmp_path: Path) -> None:
    application = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    threading.Thread(target=application.serve_forever, daemon=True).start()
    map_, server, _, session = documented("nginx")
    server = (session + server).replace("127.0.0.1:8080", f"127.0.0.1:{daemon.http_port}")
    server = server.replace("127.0.0.1:8000", f"127.0.0.1:{application.server_port}")
    nginx = Nginx(tmp_path, {"www": server}, map_)
    try:
        port, alice = nginx.ports["www"], {"Cookie": "session=alice"}
        assert status(port, "GET", "/sse/users/alice", alice) == 200
        assert status(port, "GET", "/ws/users/alice", alice | HANDSHAKE) == 101
        assert status(port, "GET", "/sse/users/bob", alice) == 403
        assert status(port, "POST", "/pub/users/alice", alice) == 403
        for headers in ({}, {"Cookie": "session=bob"}, {"Authorization": f"Bearer {TOKEN}"}):
            assert status(port, "GET", "/sse/users/alice", headers) == 401
        assert status(port, "GET", "/sse/users/bob", alice | {"Authorization": f"Bearer {TOKEN}"}) == 403
        assert status(port, "GET", "/authorize", alice) == 404
    finally:
        nginx.stop()
        application.shutdown()
        application.server_close()

"""The example with FastAPI as its README starts it: the application, pushd, and nginx with TLS in front of both."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.browser.daemon import START_SECONDS, wait
from tests.daemon.clients import SECONDS, Http, Response
from tests.daemon.real import ROOT, Daemon
from tests.system.proxies import Proxy

EXAMPLE = ROOT / "examples" / "fastapi-notifications"
COOKIE = "__Host-pushd"
_NAME = "localhost"


class _Nginx(Proxy):
    program = "nginx"

    def __init__(self, directory: Path, application: int, daemon: int) -> None:
        super().__init__(directory, ["tls"])
        file = directory / "nginx.conf"
        config = file.read_text(encoding="utf-8")
        for documented, port in (("8443", self.ports["tls"]), ("8000", application), ("8080", daemon)):
            assert f"127.0.0.1:{documented}" in config
            config = config.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{port}")
        file.write_text(config, encoding="utf-8")
        self.start("-p", str(directory), "-c", str(file), "-e", "stderr")


class Site:
    """The running example. A context manager.

    :param directory: where the example is copied to.
    :param token_seconds: the lifetime of tokens.
    """

    def __init__(self, directory: Path, token_seconds: int = 3600) -> None:
        self._directory = directory
        self._token_seconds = token_seconds
        self._running = ExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        return f"https://{_NAME}:{self.port}"

    @property
    def secret(self) -> bytes:
        """The secret with which the application signs tokens."""
        return (self._directory / "private" / "app.secret").read_bytes().strip()

    @property
    def server_token(self) -> str:
        """The token with which the application publishes."""
        return (self._directory / "private" / "app.token").read_text(encoding="utf-8").strip()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = self._directory
            shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("private"))
            _set_up(directory)
            self.daemon = Daemon(directory, "--config", "pushd.toml")
            stack.callback(self.daemon.stop)
            application = self._start_application(stack)
            nginx = _Nginx(directory, application, self.daemon.http_port)
            stack.callback(nginx.stop)
            self.port = nginx.ports["tls"]
            self._tls = ssl.create_default_context(cafile=str(directory / "private" / "certificate.pem"))
            self._running = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._running.close()

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send a request to pushd through nginx. Of a stream, only the headers are read."""
        sock = self._tls.wrap_socket(socket.create_connection(("127.0.0.1", self.port), SECONDS), server_hostname=_NAME)
        with Http(sock) as http:
            http.send_request(method, f"/push{target}", {"Host": f"{_NAME}:{self.port}"} | dict(headers), body)
            response = http.head()
            size = 0 if method == "HEAD" else int(response.headers.get("content-length", 0))
            return response._replace(body=http.read(size))

    def websocket(self, token: str, target: str = "/ws") -> ClientConnection:
        """Open a WebSocket through nginx."""
        websocket: ClientConnection = connect(
            f"wss://{_NAME}:{self.port}/push{target}",
            subprotocols=[Subprotocol("pushd.v1"), Subprotocol(f"bearer.{token}")],
            ssl=self._tls,
            proxy=None,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
        )
        return websocket

    def _start_application(self, stack: ExitStack) -> int:
        """Start the application; return its port."""
        log = self._directory / "application.log"
        with log.open("wb") as out:
            daemon_url = f"http://127.0.0.1:{self.daemon.http_port}"
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app:app", "--port", "0", "--no-access-log"],
                cwd=self._directory,
                env=os.environ | {"DAEMON_URL": daemon_url, "TOKEN_SECONDS": str(self._token_seconds)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        stack.callback(process.wait, START_SECONDS)
        stack.callback(process.terminate)

        def port() -> int:
            text = log.read_text(encoding="utf-8")
            assert process.poll() is None, text
            found = re.search(r"running on http://127\.0\.0\.1:(\d+)", text)
            return int(found[1]) if found else 0

        return int(wait(port, "the application listens", START_SECONDS))


class User(NamedTuple):
    """A user who is logged in, with a page that shows the notifications."""

    page: Page
    token: str
    errors: list[str]
    """What the page has logged as errors."""

    @property
    def cookie(self) -> dict[str, str]:
        """The headers that a browser sends from the page of the site."""
        return {"Cookie": f"{COOKIE}={self.token}", "Sec-Fetch-Site": "same-origin"}

    def shown(self, transport: str) -> list[str]:
        """Return the notifications on the page that have come over a transport."""
        return self.page.locator(f"#{transport} li").all_text_contents()


def log_in(
    chromium: Browser, site: Site, name: str, password: str, watch: Callable[[Page], None] = lambda page: None
) -> User:
    """Log in as a person does.

    :param watch: called with the page before it requests anything.
    """
    page, errors = chromium.new_context(ignore_https_errors=True).new_page(), list[str]()
    watch(page)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site.url}/")
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text(f"Notifications of {name}")
    token = page.locator("#token").text_content()
    assert token
    return User(page, token, errors)


def _set_up(directory: Path) -> None:
    """Run the commands of the README, except for the installation of packages, which the tests require anyway."""
    commands, _ = re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.S)
    install, _, rest = commands.partition("\n")
    assert install.startswith("pip install")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", rest],
        cwd=directory,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

"""A daemon with authentication, and what an application needs to use it: a token, and a key of signed URLs."""

import base64
import hashlib
import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import NamedTuple

import pytest
from pushd_client.pytest_plugin import PushdDaemon, running_daemon

TOKEN = "token-of-the-application-for-tests"
URL_SECRET = "the secret of the key of signed URLs"
WEBHOOK_SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
_CONFIG = """
[http]
allow_origins = ["*"]
[auth]
tokens_file = "tokens.toml"
[auth.url_keys]
web = "web.key"
"""
_TOKENS = """
[app]
sub = "app"
sha256 = "{}"
subscribe = ["**"]
publish = ["**"]
manage = ["**"]
operate = ["*"]
"""


class SecuredDaemon(NamedTuple):
    """A daemon, and the files of the application."""

    daemon: PushdDaemon
    token: Path
    url_key: tuple[str, Path]


@pytest.fixture(scope="session")
def secured_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredDaemon]:
    """A daemon that accepts the token `TOKEN` and the key `web`, and nobody else."""
    directory = tmp_path_factory.mktemp("secured")
    token, key = directory / "app.token", directory / "web.key"
    token.write_text(TOKEN + "\n")
    key.write_text(URL_SECRET + "\n")
    (directory / "tokens.toml").write_text(_TOKENS.format(hashlib.sha256(TOKEN.encode()).hexdigest()))
    with running_daemon(directory, _CONFIG, TOKEN) as daemon:
        yield SecuredDaemon(daemon, token, ("web", key))


class EventSource:
    """A client of server-sent events, as a page has it: without a token, perhaps with a cookie."""

    def __init__(self, url: str, cookie: str = "") -> None:
        host, _, path = url.removeprefix("http://").partition("/")
        self._connection = HTTPConnection(host, timeout=30)
        self._connection.request("GET", f"/{path}", headers={"Cookie": cookie} if cookie else {})
        self.response: HTTPResponse = self._connection.getresponse()

    def __enter__(self) -> "EventSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def data(self) -> object:
        """Return the JSON data of the next message."""
        return json.loads(self.text())

    def text(self) -> str:
        """Return the data of the next message."""
        is_message = True
        while line := self.response.readline():
            if line.startswith(b"event:"):
                is_message = line.split(b":")[1].strip() == b"message"
            elif line.startswith(b"data:") and is_message:
                return line[5:].decode().strip()
            elif line == b"\n":
                is_message = True
        raise EOFError("the stream has ended")

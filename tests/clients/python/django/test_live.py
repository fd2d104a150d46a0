"""A daemon and a Django server, which reach each other by HTTP: sessions, signed URLs, messages and hooks."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from pushd_client.django import publish_on_commit
from pushd_client.pytest_plugin import PushdDaemon, running_daemon, wait_for

from tests.clients.python.django.urls import received
from tests.clients.python.secured_daemon import TOKEN, URL_SECRET, WEBHOOK_SECRET, EventSource

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("database")]
CONFIG = """
[auth]
tokens_file = "tokens.toml"
[auth.url_keys]
web = "web.key"
[auth.callback]
url = "{django}/callback"
secret_files = ["webhook.secret"]
actions = ["subscribe"]
timeout = 10
forward_headers = ["Cookie"]
[hook.app]
url = "{django}/hooks"
events = ["publish"]
secret_files = ["webhook.secret"]
"""
TOKENS = """
[app]
sub = "app"
sha256 = "{}"
subscribe = ["**"]
publish = ["**"]
manage = ["**"]
operate = ["*"]
"""


class Project(NamedTuple):
    """A running project."""

    url: str
    daemon: PushdDaemon


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Run both servers."""
    folder: Path = tmp_path_factory.mktemp("live")
    (folder / "web.key").write_text(URL_SECRET)
    (folder / "webhook.secret").write_text(WEBHOOK_SECRET)
    (folder / "tokens.toml").write_text(TOKENS.format(hashlib.sha256(TOKEN.encode()).hexdigest()))
    middleware = ["sessions.middleware.SessionMiddleware", "auth.middleware.AuthenticationMiddleware"]
    with ExitStack() as stack:
        changed = override_settings(
            ALLOWED_HOSTS=["127.0.0.1", "testserver"],
            MEDIA_URL="/media/",
            STATIC_URL="/static/",
            MIDDLEWARE=[f"django.contrib.{name}" for name in middleware],
        )
        stack.enter_context(changed)
        url = stack.enter_context(django_server())
        daemon = stack.enter_context(running_daemon(folder, CONFIG.format(django=url), TOKEN))
        pushd = {
            "URL": daemon.url,
            "TOKEN": TOKEN,
            "URL_KEY": ("web", URL_SECRET),
            "HOOK_SECRET": WEBHOOK_SECRET,
            "CALLBACK_SECRET": WEBHOOK_SECRET,
        }
        stack.enter_context(override_settings(PUSHD=pushd))
        yield Project(url, daemon)


@contextmanager
def django_server() -> Iterator[str]:
    """Run the test server of Django in a thread; return its URL."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    assert thread.error is None
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()


def session_of(user: User) -> str:
    """Log a user in; return the header `Cookie`."""
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"


def page(project: Project, cookie: str) -> str:
    """Return the body of the page."""
    connection = HTTPConnection(project.url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/page", headers={"Cookie": cookie})
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_session_signed_url_and_hook_from_end_to_end(project: Project) -> None:
    received.clear()
    alice, bob = (User.objects.create_user(name) for name in ("live-alice", "live-bob"))
    channel = f"users/{alice.pk}/inbox"
    by_session, by_url = f"{project.daemon.url}/sse/{channel}", page(project, session_of(alice))
    assert f"/sse/{channel}?" in by_url and "sig=" in by_url
    for url, cookie in ((by_session, session_of(bob)), (by_session, ""), (by_url, session_of(bob))):
        with EventSource(url, cookie) as refused:
            assert refused.response.status in (401, 403)
    with EventSource(by_session, session_of(alice)) as one, EventSource(by_url, session_of(alice)) as other:
        assert (one.response.status, other.response.status) == (200, 200)
        publish_on_commit(channel, {"text": "hello"})
        assert one.data() == other.data() == {"text": "hello"}
    wait_for(lambda: received, "hook", 30)
    assert [(event["type"], event["channel"]) for event in received] == [("publish", channel)]

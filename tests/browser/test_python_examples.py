"""The examples of docs/django.md, docs/fastapi.md and docs/flask.md: the second browser sees it, nobody else does."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect
from pushd_client.pytest_plugin import PushdDaemon, running_daemon

from tests.daemon.real import ROOT

EXAMPLES = ROOT / "examples/python"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
PYTHONPATH = os.pathsep.join([str(ROOT), str(ROOT / "clients/python")])
_WSGI = """
import sys
from werkzeug.serving import make_server
make_server("127.0.0.1", 0, app, threaded=True, fd=int(sys.argv[1])).serve_forever()
"""
_DJANGO = f"""
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django
django.setup()
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
call_command("migrate", verbosity=0)
for name in ("alice", "bob"):
    call_command("createsuperuser", interactive=False, username=name, email="a@example.org", verbosity=0)
app = StaticFilesHandler(get_wsgi_application())
{_WSGI}
"""


class Framework(NamedTuple):
    """How an example is started, and how its users log in."""

    command: tuple[str, ...]
    """Listens on the file descriptor that is appended."""
    user: str = "User"
    """The label of the field."""
    password: str = "builder"
    """That of Bob; Alice has `wonderland`."""


FRAMEWORKS = {
    "django": Framework((sys.executable, "-c", _DJANGO), "Username:", "wonderland"),
    "fastapi": Framework((sys.executable, "-m", "uvicorn", "app:app", "--no-access-log", "--fd")),
    "flask": Framework((sys.executable, "-c", f"from app import app\n{_WSGI}")),
}


class Site(NamedTuple):
    """The applications, and the daemon that they share."""

    daemon: PushdDaemon
    urls: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The three applications, with one daemon."""
    directory = tmp_path_factory.mktemp("examples")
    with ExitStack() as stack:
        listening = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in FRAMEWORKS}
        urls = {name: f"http://localhost:{each.getsockname()[1]}" for name, each in listening.items()}
        config = (EXAMPLES / "flask/pushd.toml").read_text()
        _make_secrets(directory)
        _, *rest = config.splitlines()
        origins = f"http.allow_origins = {list(urls.values())}"
        daemon = stack.enter_context(_daemon(directory, "\n".join([origins, *rest])))
        for name in FRAMEWORKS:
            stack.enter_context(_application(name, directory, listening[name], daemon.url))
        yield Site(daemon, urls)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "django" else ()) for name in FRAMEWORKS]
)
def test_second_browser_sees_it(name: str, site: Site, chromium: Browser):
    framework, url = FRAMEWORKS[name], site.urls[name]
    errors: list[str] = []
    alice = _log_in(chromium, url, "alice", framework.user, "wonderland", errors)
    bob = _log_in(chromium, url, "bob", framework.user, framework.password, errors)
    for _ in range(2):
        alice.get_by_label("To").fill("bob")
        alice.get_by_label("Text").fill(f"<i>{name}</i>")
        alice.get_by_role("button", name="Send").click()
    shown = bob.locator("#inbox li", has_text=name)
    expect(shown).to_have_text([f"alice: <i>{name}</i>"] * 2)
    bob.reload()
    expect(shown).to_have_text([f"alice: <i>{name}</i>"] * 2)
    expect(alice.locator("#inbox li")).to_have_count(0)
    assert errors == []
    _assert_private(bob, alice)


def _assert_private(bob: Page, alice: Page) -> None:
    """Check that the URL in a page grants its own channel only, and that there is no other way in."""
    own = [page.evaluate("source.url") for page in (bob, alice)]
    channel = [re.search("/sse/(.*)/inbox", url)[1] for url in own]  # type: ignore[index]
    others = [own[1].replace(f"/{channel[1]}/", f"/{channel[0]}/"), own[0].partition("?")[0], own[0] + "0"]
    status = "url => fetch(url, {signal: AbortSignal.timeout(5000)}).then(response => response.status)"
    assert [alice.evaluate(status, url) for url in others] == [401, 401, 401]
    assert alice.evaluate(status, own[1]) == 200


def _log_in(chromium: Browser, url: str, user: str, label: str, password: str, errors: list[str]) -> Page:
    page = chromium.new_context().new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.get_by_label(label).fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    return page


def _make_secrets(directory: Path) -> None:
    """Run the commands of the documentation, except those that install packages and make the project."""
    blocks = {_shell_block(name).partition("umask 077\n")[2] for name in FRAMEWORKS}
    (commands,) = blocks
    environ = os.environ | {"PATH": PATH, "PYTHONPATH": PYTHONPATH}
    subprocess.run(["bash", "-e", "-c", f"umask 077\n{commands}"], cwd=directory, env=environ, check=True)


def _shell_block(name: str) -> str:
    found = re.search(r"```sh\n(.*?)```", (ROOT / f"docs/{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def _daemon(directory: Path, config: str) -> AbstractContextManager[PushdDaemon]:
    return running_daemon(directory, config, (directory / "app.token").read_text().strip())


@contextmanager
def _application(name: str, secrets: Path, listening: socket.socket, daemon_url: str) -> Iterator[None]:
    """Run an example with the secrets in a directory."""
    directory = secrets / name
    shutil.copytree(EXAMPLES / name, directory)
    for secret in ("app.token", "web.key"):
        shutil.copy(secrets / secret, directory)
    for file in directory.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:8080", daemon_url).replace(
            "PUSHD = {", f'PUSHD = {{"URL": "{daemon_url}", '
        )
        file.write_text(text, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": PYTHONPATH, "DJANGO_SUPERUSER_PASSWORD": "wonderland"}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*FRAMEWORKS[name].command, str(listening.fileno())],
            cwd=directory,
            env=environ,
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)

"""The pages for Django, FastAPI and Flask: what they print is what the examples run, and the rest runs here."""

import json
import re
from pathlib import Path
from typing import Any

import flask
import pytest
from fastapi.testclient import TestClient

from tests.clients.python.secured_daemon import WEBHOOK_SECRET
from tests.clients.python.test_webhooks import signed

ROOT = Path(__file__).parents[3]
FRAMEWORKS = ("django", "fastapi", "flask")
EVENTS = {"hook": "app", "events": [{"id": "evt_1", "type": "occupied", "channel": "a"}]}
QUESTION = {"action": "connect", "topics": [], "headers": {"Cookie": "session=9f2c"}}
OWN = re.compile("pushd|push[.)]|PUSHD|SOURCES|source", re.IGNORECASE)
"""What a line has that is not the framework's own."""


def blocks(name: str, language: str = r"\w+") -> tuple[list[str], list[str]]:
    """Return the code blocks of a page: those of the example, and those after it."""
    text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    example, rest = text.split("## How it works")
    pattern = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return pattern.findall(example), pattern.findall(rest)


def sources(name: str) -> str:
    """Return all files of an example, without the comment of the linter where its page appends to a file."""
    files = sorted((ROOT / "examples/python" / name).rglob("*.*"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".html", ".toml"))
    return re.sub("  # noqa: E402.*", "", text)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_page_prints_the_example_that_runs(name: str):
    printed, _ = blocks(name, "(?:python|html|toml)")
    assert len(printed) >= 4
    text = sources(name)
    for block in printed:
        assert block in text


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_example_adds_at_most_ten_lines_to_the_framework(name: str):
    printed, _ = blocks(name, "(?:python|html)")
    lines = [line.strip() for block in printed for line in block.splitlines() if OWN.search(line)]
    assert 5 < len(lines) <= 10, "\n".join(lines)


def test_further_examples_add_at_most_ten_lines():
    worker = (ROOT / "examples/python/worker.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert 0 < len([line for line in worker.splitlines() if OWN.search(line)]) <= 10
    service = (ROOT / "examples/python/service.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert 0 < len([line for line in service.splitlines() if OWN.search(line)]) <= 10


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of an example whose secrets are in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("callback", "hook"):
        (tmp_path / f"{name}.secret").write_text(WEBHOOK_SECRET)
    return {"__name__": "app"}


def test_callback_and_hooks_of_fastapi(scope: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    (example,) = blocks("fastapi", "python")[1]
    exec(example, scope)
    with TestClient(scope["app"]) as client:

        def post(path: str, value: object) -> Any:
            body = json.dumps(value).encode()
            return client.post(path, content=body, headers=signed(WEBHOOK_SECRET, body=body))

        assert post("/pushd/callback", QUESTION).json() == {"allow": True, "grant": {"subscribe": ["users/alice/**"]}}
        assert post("/pushd/callback", QUESTION | {"headers": {}}).json() == {"allow": False, "ttl": 5}
        assert post("/pushd/hooks", EVENTS).status_code == 204
        assert client.post("/pushd/hooks", json=EVENTS).status_code == 400
    assert capsys.readouterr().out == "occupied a\n"


def test_callback_and_hooks_of_flask(scope: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    (example,) = blocks("flask", "python")[1]
    exec(example, scope)
    assert isinstance(scope["app"], flask.Flask)
    client = scope["app"].test_client()

    def post(path: str, value: object) -> Any:
        body = json.dumps(value).encode()
        return client.post(path, data=body, headers=signed(WEBHOOK_SECRET, body=body))

    assert post("/pushd/callback", QUESTION).json == {"allow": True, "grant": {"subscribe": ["users/alice/**"]}}
    assert post("/pushd/callback", QUESTION | {"headers": {}}).json == {"allow": False, "ttl": 5}
    assert post("/pushd/hooks", EVENTS).status_code == 204
    assert client.post("/pushd/hooks", json=EVENTS).status_code == 400
    assert capsys.readouterr().out == "occupied a\n"

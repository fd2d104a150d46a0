"""The integration with FastAPI: one client for the lifespan, URLs for pages, verified hooks and callbacks."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pushd_client import AsyncPushd, Decision, Question
from pushd_client import fastapi as module
from pushd_client.fastapi import FastapiPushd

from tests.clients.python.secured_daemon import WEBHOOK_SECRET, EventSource, SecuredDaemon, secured_daemon
from tests.clients.python.test_webhooks import signed

__all__ = ["secured_daemon"]
Events = list[dict[str, Any]]


def application(push: FastapiPushd) -> FastAPI:
    """Return an application whose own lifespan contains that of pushd."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with push.lifespan():
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/page")
    async def page(user: str) -> str:
        return await push.source_url("users/{sub}/inbox", sub=user)

    @app.post("/send")
    async def send(user: str, pushd: Annotated[AsyncPushd, Depends(push)]) -> str | None:
        return (await pushd.publish(f"users/{user}/inbox", "hello")).id

    @app.post("/hooks")
    async def hooks(events: Annotated[Events, Depends(push.events)]) -> list[str]:
        return [event["id"] for event in events]

    @app.post("/callback")
    @push.callback
    async def callback(question: Annotated[Question, Depends(push.question)]) -> dict[str, Any] | None:
        return {"subscribe": [f"users/{question.sub}/**"]} if question.sub else None

    @app.post("/callback-in-a-thread")
    @push.callback
    def callback_in_a_thread(question: Annotated[Question, Depends(push.question)]) -> Decision:
        return Decision(question.cookies == {"session": "1"}, ttl=1)

    return app


@pytest.fixture(scope="module")
def client(secured_daemon: SecuredDaemon) -> Iterator[TestClient]:
    """A client of the running application."""
    push = FastapiPushd(
        secured_daemon.daemon.url,
        secured_daemon.token,
        url_key=secured_daemon.url_key,
        hook_secret=[WEBHOOK_SECRET],
        callback_secret=WEBHOOK_SECRET,
    )
    with TestClient(application(push)) as client:
        yield client


def post(client: TestClient, path: str, value: object, **changes: str) -> Any:
    """Send a request as the daemon does; return the response."""
    body = json.dumps(value).encode()
    return client.post(path, content=body, headers=signed(WEBHOOK_SECRET, body=body) | changes)


def test_page_receives_what_is_published_after_it_was_rendered(client: TestClient):
    url = client.get("/page?user=42").json()
    assert parse_qs(urlsplit(url).query)["sub"] == ["42"]
    assert client.post("/send?user=42").json()
    with EventSource(url) as events:
        assert events.response.status == 200
        assert events.text() == "hello"
    with EventSource(url.replace("sub=42", "sub=43")) as events:
        assert events.response.status == 401


def test_events_of_hooks_are_verified(client: TestClient):
    batch = {"hook": "app", "events": [{"id": "evt_1", "type": "connect"}]}
    assert post(client, "/hooks", batch).json() == ["evt_1"]
    response = post(client, "/hooks", batch, **{"webhook-id": "other"})
    assert response.status_code == 400 and "no signature with the secret" in response.text


def test_callbacks_are_verified_and_answered(client: TestClient):
    question = Question("connect", [], sub="42")
    grant = {"subscribe": ["users/42/**"]}
    assert post(client, "/callback", asdict(question)).json() == {"allow": True, "grant": grant}
    assert post(client, "/callback", asdict(Question("connect", []))).json() == {"allow": False, "ttl": 5}
    assert post(client, "/callback", asdict(question), **{"webhook-timestamp": "1"}).status_code == 400
    question = Question("connect", [], headers={"Cookie": "session=1"})
    assert post(client, "/callback-in-a-thread", asdict(question)).json() == {"allow": True, "ttl": 1}


@pytest.mark.parametrize("path", ["/hooks", "/callback"])
def test_size_of_a_body_is_limited(client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert post(client, path, {"events": []}).status_code == 413


def test_page_is_rendered_without_the_daemon(caplog: pytest.LogCaptureFixture):
    with TestClient(application(FastapiPushd("http://127.0.0.1:1", timeout=0.05))) as client:
        urls = [client.get("/page?user=42").json() for _ in range(2)]
    assert all(url.startswith("http://127.0.0.1:1/sse/users/42/inbox?since=1") for url in urls)
    assert caplog.text.count("Pages are rendered without a cursor") == 1


def test_without_the_lifespan_the_error_says_so():
    push = FastapiPushd()
    app = application(push)
    app.router.lifespan_context = FastAPI().router.lifespan_context
    with pytest.raises(RuntimeError, match="must be created with lifespan="), TestClient(app) as client:
        client.post("/send?user=42")

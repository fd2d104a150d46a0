"""The views for callbacks and hooks: the signature is verified, and the user is that of the session."""

import json
import logging
from dataclasses import asdict
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, override_settings
from pushd_client import Question
from pushd_client.django import views

from tests.clients.python.django.urls import received
from tests.clients.python.secured_daemon import WEBHOOK_SECRET
from tests.clients.python.test_webhooks import signed

pytestmark = pytest.mark.usefixtures("database")
PUSHD = {"HOOK_SECRET": [WEBHOOK_SECRET], "CALLBACK_SECRET": WEBHOOK_SECRET}


@pytest.fixture(autouse=True)
def secrets():
    received.clear()
    with override_settings(PUSHD=PUSHD):
        yield


def post(path: str, value: object, **changes: str) -> Any:
    """Send a request as the daemon does; return the response."""
    body = json.dumps(value).encode()
    headers = signed(WEBHOOK_SECRET, body=body) | changes
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.post(path, body, "application/json", headers=headers)


def answer(question: Question) -> Any:
    response = post("/callback", asdict(question))
    assert response.status_code == 200
    return response.json()


def cookie_of(user: User) -> str:
    """Return the header `Cookie` of a session."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"theme=dark; sessionid={session.session_key}"


def test_authorization_view_has_the_user_of_the_session():
    user = User.objects.create_user("alice")
    question = Question("subscribe", [f"users/{user.pk}/inbox"], headers={"Cookie": cookie_of(user)})
    assert answer(question) == {"allow": True, "grant": {"subscribe": [f"users/{user.pk}/**"]}}
    user.set_password("another")
    user.save()  # ends all sessions
    assert answer(question) == {"allow": False, "ttl": 5}
    forged = Question("subscribe", [], headers={"Cookie": f"sessionid={user.pk}:x:y"})
    assert answer(forged) == {"allow": False, "ttl": 5}
    assert answer(Question("connect", [])) == {"allow": False, "ttl": 5}


def test_authorization_view_has_the_subject():
    assert answer(Question("publish", ["news"], sub="app")) == {"allow": True}


def test_webhook_view_passes_the_events_on():
    events = [{"id": "evt_1", "type": "connect"}, {"id": "evt_2", "type": "disconnect"}]
    assert post("/hooks", {"hook": "app", "events": events[:1]}).status_code == 204
    assert post("/hooks", {"hook": "app", "events": events}).status_code == 202
    assert received == [events[0], *events]


def test_error_of_the_receiver_makes_the_daemon_repeat():
    assert post("/hooks", {"events": [{"id": "evt_1", "type": "fail"}]}).status_code == 500


@pytest.mark.parametrize("path", ["/callback", "/hooks"])
def test_what_is_not_signed_is_refused(path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    with caplog.at_level(logging.WARNING, "pushd_client.django"):
        assert post(path, asdict(Question("connect", [], sub="app")), **{"webhook-id": "other"}).status_code == 400
    assert f"Request to {path} is refused" in caplog.text and not received
    assert Client().get(path).status_code == 405
    monkeypatch.setattr(views, "MAX_BYTES", 10)
    assert post(path, {"events": []}).status_code == 413


@pytest.mark.parametrize("path", ["/callback", "/hooks"])
def test_secret_must_be_set(path: str):
    with override_settings(PUSHD={}), pytest.raises(ImproperlyConfigured, match=r'PUSHD\["\w+_SECRET"\] must be set'):
        Client().post(path)

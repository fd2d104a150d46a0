"""Messages that are published when a transaction is committed."""

import socket
from datetime import date
from decimal import Decimal
from time import monotonic
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings
from pushd_client import ConnectionFailed
from pushd_client.django import conf, cursor, publish_on_commit
from pushd_client.django.apps import current_settings
from pushd_client.pytest_plugin import PushdDaemon

from tests.clients.python.secured_daemon import SecuredDaemon

pytestmark = pytest.mark.usefixtures("database")
MESSAGES = 10
TIMEOUT = 1.0
"""So long that not even a busy machine needs as much for the rest as for the timeouts of all messages."""


@pytest.fixture
def daemon(secured_daemon: SecuredDaemon, pushd_settings: dict[str, Any]) -> PushdDaemon:
    """The daemon that the settings name."""
    return secured_daemon.daemon


def test_messages_are_published_when_the_transaction_is_committed(daemon: PushdDaemon):
    data = {"total": Decimal("1.50"), "day": date(2026, 11, 28), "state": "paid"}
    with transaction.atomic():
        publish_on_commit("orders/1", data, event="paid")
        publish_on_commit("orders/1", "text")
        data["state"] = "changed later"
        assert daemon.published() == []
    first, second = daemon.published()
    assert first.data == {"total": "1.50", "day": "2026-11-28", "state": "paid"}
    assert (first.event, first.sender, second.data) == ("paid", "app", "text")


def test_nothing_is_published_when_it_is_rolled_back(daemon: PushdDaemon):
    with pytest.raises(RuntimeError), transaction.atomic():
        publish_on_commit("orders/2", "never")
        raise RuntimeError
    assert daemon.published() == []


def test_without_a_transaction_it_is_published_at_once(daemon: PushdDaemon):
    publish_on_commit("orders/3", b"\xff")
    assert [message.data for message in daemon.published()] == [b"\xff"]


@pytest.mark.parametrize(
    ("channel", "data", "options", "message"),
    [
        ("no/*/channel", "x", {}, "Message to channel no/*/channel is not published: bad-"),
        ("a", object(), {}, "Message to channel a is not published: its data cannot be encoded as JSON"),
        ("a", "x", {"unknown": 1}, "Message to channel a is not published"),
    ],
)
def test_what_cannot_be_published_is_logged_and_nothing_else_fails(
    daemon: PushdDaemon,
    caplog: pytest.LogCaptureFixture,
    channel: str,
    data: object,
    options: dict[str, Any],
    message: str,
):
    with transaction.atomic():
        publish_on_commit(channel, data, **options)
        publish_on_commit("b", "published")
        User.objects.create_user(f"user{len(options)}{type(data).__name__}{channel[0]}")
    assert message in caplog.text
    assert [message.channel for message in daemon.published()] == ["b"]


def test_daemon_that_is_away_does_not_fail_the_request(caplog: pytest.LogCaptureFixture):
    with override_settings(PUSHD={"URL": "http://127.0.0.1:1", "TIMEOUT": 0.05}), transaction.atomic():
        publish_on_commit("a", "x")
    assert "Message to channel a is not published: " in caplog.text


def test_messages_and_pages_do_not_wait_for_a_daemon_that_hangs_one_after_the_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conf, "QUICK_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        with override_settings(PUSHD={"URL": url, "TIMEOUT": TIMEOUT}):
            began = monotonic()
            with transaction.atomic():
                for number in range(MESSAGES):
                    publish_on_commit("a", number)
            cursor()
            assert TIMEOUT <= monotonic() - began < MESSAGES * TIMEOUT - 3
    assert caplog.text.count("Message to channel a is not published: ") == MESSAGES


@pytest.mark.usefixtures("pushd_settings")
def test_first_success_ends_an_outage():
    present = current_settings()
    with pytest.raises(ConnectionFailed), present.reaching(present.client):
        raise ConnectionFailed("the daemon is away")
    with present.reaching(present.client) as client:
        assert client is present.quick_client
        client.publish("a", "x")
    with present.reaching(present.client) as client:
        assert client is present.client

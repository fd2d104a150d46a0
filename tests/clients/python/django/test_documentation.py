"""The further examples of docs/django.md, and its table of settings."""

import json
import re
from contextlib import nullcontext
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import engines
from django.test import RequestFactory, override_settings
from pushd_client import Question
from pushd_client.django import conf

from tests.clients.python.secured_daemon import WEBHOOK_SECRET, SecuredDaemon
from tests.clients.python.test_documentation import EVENTS, ROOT, blocks
from tests.clients.python.test_webhooks import signed

pytestmark = pytest.mark.usefixtures("database")
EXAMPLES = blocks("django", "python")[1]


def names_of(word: str) -> dict[str, Any]:
    """Run the example with a word; return its names."""
    (example,) = [each for each in EXAMPLES if word in each]
    scope: dict[str, Any] = {}
    exec(example, scope)
    return scope


def post(view: Any, value: object) -> Any:
    body = json.dumps(value).encode()
    with override_settings(PUSHD={"HOOK_SECRET": WEBHOOK_SECRET, "CALLBACK_SECRET": WEBHOOK_SECRET}):
        request = RequestFactory().post("/", body, "application/json", headers=signed(WEBHOOK_SECRET, body=body))
        return view(request)


def test_authorization_view():
    view = names_of("authorization_view")["authorize"]
    assert json.loads(post(view, asdict(Question("publish", ["a"], sub="app"))).content) == {"allow": True}
    assert json.loads(post(view, asdict(Question("connect", []))).content) == {"allow": False, "ttl": 5}


def test_webhook_view(capsys: pytest.CaptureFixture[str]):
    assert post(names_of("webhook_view")["hooks"], EVENTS).status_code == 204
    assert capsys.readouterr().out == "occupied a\n"


def test_cursor_of_a_view(pushd_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    scope = names_of("def orders(")
    rendered: list[dict[str, Any]] = []
    scope["render"] = lambda request, template, context: rendered.append(context)
    user = SimpleNamespace(orders=SimpleNamespace(all=lambda: [1]))
    scope["orders"](SimpleNamespace(user=user))
    template = engines["django"].from_string('{% load pushd %}{% pushd_source "a" since=since %}')
    assert f"since={rendered[0]['since']}" in template.render(rendered[0])


def test_test_of_an_application(secured_daemon: SecuredDaemon):
    daemon = secured_daemon.daemon
    daemon.clear()
    client = SimpleNamespace(post=lambda path, data: daemon.client.publish(f"{path[1:]}/1", data))
    test = names_of("def test_order")["test_order_is_published"]
    test(daemon, SimpleNamespace(), client, None, lambda execute: nullcontext())


def test_every_setting_is_documented():
    text = (ROOT / "docs/django.md").read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[0] for row in text.splitlines() if row.startswith("| `") and "[…]" not in row]
    assert set(re.findall("`([A-Z_]+)`", " ".join(rows))) == set(conf.DEFAULTS)

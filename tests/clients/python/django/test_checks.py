"""The system checks: mistakes in the settings have hints, and a daemon that is away is no error."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

MISSING = Path("/nonexistent/web.key")


def checked(values: object, *, deploy: bool = False) -> list[CheckMessage]:
    with override_settings(PUSHD=values):
        return list(run_checks(tags=["pushd"], include_deployment_checks=deploy))


def test_settings_must_exist():
    assert not hasattr(settings, "PUSHD")
    (message,) = run_checks(tags=["pushd"])
    assert message.id == "pushd.E001" and message.hint is not None and "Add PUSHD = {" in message.hint
    assert checked(None)[0].id == "pushd.E001"


def test_defaults_and_right_settings_pass(tmp_path: Path):
    key = tmp_path / "web.key"
    key.write_text("s" * 32)
    secret = "whsec_" + "A" * 44
    complete: dict[str, Any] = {
        "URL": "https://a.example/pushd",
        "PUBLIC_URL": "/push",
        "TOKEN": "x",
        "URL_KEY": ("web", key),
    }
    complete |= {"EXP": 60, "UNTIL": 600, "HOOK_SECRET": [secret, secret], "CALLBACK_SECRET": secret, "TIMEOUT": 0.5}
    assert checked({}) == checked(complete) == []


@pytest.mark.parametrize(
    ("name", "value", "number", "text"),
    [
        ("url", "http://a", "E002", 'Did you mean "URL"?'),
        ("other", "http://a", "E002", "Settings are URL, "),
        ("URL", "localhost:8080", "E003", "must be http://HOST"),
        ("URL", 8080, "E003", "must be http://HOST"),
        ("PUBLIC_URL", "push", "E004", "must be http://HOST"),
        ("PUBLIC_URL", "/push'", "E004", "must not contain quotes"),
        ("TOKEN", "", "E005", "must not be empty"),
        ("TOKEN", MISSING, "E005", "/nonexistent/web.key: No such file"),
        ("URL_KEY", "web", "E006", "must be a tuple of an id and a secret"),
        ("URL_KEY", ("web", "short"), "E006", r"secret must have at least 32 bytes (has 5)"),
        ("URL_KEY", ("web", MISSING), "E006", "/nonexistent/web.key: No such file"),
        ("EXP", "5m", "E007", "must be a positive number of seconds (got '5m')"),
        ("TIMEOUT", 0, "E007", "must be a positive number of seconds (got 0)"),
        ("HOOK_SECRET", "0123", "E008", "secret must begin with whsec_"),
        ("CALLBACK_SECRET", ["whsec_!"], "E008", "secret must be base64 after whsec_"),
    ],
)
def test_mistakes_have_a_hint(name: str, value: Any, number: str, text: str):
    (message,) = checked({name: value})
    assert message.id == f"pushd.{number}"
    assert message.hint and text in f"{message.msg} {message.hint}" and name in message.msg
    assert checked({name: value}, deploy=True) == [message]


def test_daemon_that_is_away_is_a_warning_of_the_deployment():
    values = {"URL": "http://127.0.0.1:1", "TIMEOUT": 0.05}
    assert checked(values) == []
    assert [message.id for message in checked(values, deploy=True)] == ["pushd.W001", "pushd.W002"]


def test_deployment_checks_the_token(pushd_settings: dict[str, Any]):
    assert checked(pushd_settings, deploy=True) == []
    (message,) = checked(pushd_settings | {"TOKEN": "forged"}, deploy=True)
    assert message.id == "pushd.W003" and "refuses the token" in message.msg

"""Settings of the callback."""

import base64
import json
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from pushd.auth.callback_client import CallbackEndpoint
from pushd.config.callback import CallbackSettings, read_callback
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.reload import compare
from pushd.service.authentication import check_credentials

URL = "https://app.example.org/pushd/callback"
MINIMAL = {"url": URL, "secret_files": ["a"]}


def test_defaults() -> None:
    settings = read_callback(MINIMAL)
    assert settings == CallbackSettings(
        url=URL,
        secret_files=("a",),
        actions=("connect", "subscribe", "publish"),
        timeout=1,
        forward_headers=(),
        allow_http=False,
    )


def test_all_settings(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"whsec_" + base64.b64encode(name.encode() * 32) + b"\n")
    file = tmp_path / "pushd.toml"
    file.write_text(
        f"""[auth.callback]
url = "http://app.internal:8000/pushd/?x=1"
secret_files = ["{tmp_path}/a", "{tmp_path}/b"]
actions = ["connect"]
timeout = "500ms"
forward_headers = ["Cookie", "X-Tenant"]
allow_http = true
"""
    )
    config = load(file, {}, {})
    auth = config.auth
    assert auth.is_enabled
    assert auth.callback is not None
    assert list(check_credentials(config)) == []
    assert auth.callback.build() == CallbackEndpoint(
        "http://app.internal:8000/pushd/?x=1",
        (b"a" * 32, b"b" * 32),
        frozenset({"connect"}),
        0.5,
        ("Cookie", "X-Tenant"),
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"url": ...}, r"auth\.callback\.url: is missing"),
        ({"secret_files": ...}, r"auth\.callback\.secret_files: is missing"),
        ({"url": ""}, "is not a non-blank string"),
        ({"url": "app.example.org"}, "is not a URL"),
        ({"url": "ftp://app.example.org/"}, "is not a URL"),
        ({"url": "https://user:secret@app.example.org/"}, "must not contain a user name or a password"),
        ({"url": "http://app.example.org/"}, "must begin with https://, unless its host is loopback or allow_http"),
        ({"url": "http://10.0.0.1/"}, "must begin with https://"),
        ({"secret_files": []}, r"auth\.callback\.secret_files: must name one or two files"),
        ({"secret_files": ["a", "b", "c"]}, "must name one or two files"),
        ({"actions": []}, r"auth\.callback\.actions: must have 1 to 3 entries"),
        ({"actions": ["conect"]}, "'conect' is not one of connect, subscribe, publish, did you mean connect?"),
        ({"actions": ["connect", "connect"]}, "must not have an entry twice"),
        ({"timeout": 0}, r"auth\.callback\.timeout: 0 is too small"),
        ({"timeout": 31}, r"auth\.callback\.timeout: 31 is too long"),
        ({"forward_headers": ["Cookie:"]}, "'Cookie:' is not the name of a header"),
        ({"forward_headers": ["Cookie", "cookie"]}, "must not have an entry twice"),
        ({"forward_headers": [f"X-{number}" for number in range(17)]}, "must have at most 16 entries"),
        ({"forward_header": []}, r"unknown key auth\.callback\.forward_header, did you mean"),
    ],
)
def test_invalid_settings(changes: dict[str, object], reason: str) -> None:
    table = {key: value for key, value in {**MINIMAL, **changes}.items() if value is not ...}
    with pytest.raises(ValueError, match=reason) as raised:
        read_callback(table)
    assert "secret@" not in str(raised.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "[::1]"])
def test_http_to_loopback(host: str) -> None:
    assert read_callback(MINIMAL | {"url": f"http://{host}:8000/"}).url == f"http://{host}:8000/"


def test_a_section_is_needed() -> None:
    with pytest.raises(ValueError, match=r"auth\.callback: must be a section, written \[auth\.callback\]"):
        read_callback([])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"auth\.callback\.secret_files: .*/secret: No such file"),
        ("", "must begin with whsec_"),
        ("whsec_c2hvcnQ=", "must have 24 to 64 bytes"),
    ],
)
def test_the_check_of_the_configuration_reads_the_secrets(tmp_path: Path, content: str | None, reason: str) -> None:
    secret, file = tmp_path / "secret", tmp_path / "pushd.toml"
    if content is not None:
        secret.write_text(content)
    file.write_text(f'[auth.callback]\nurl = "{URL}"\nsecret_files = ["{secret}"]\n')
    with pytest.raises(ConfigError, match=reason):
        load(file, {}, {}, [check_credentials])


def test_the_section_is_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text("[auth.anonymous]\n")
    before = load(file, {}, {})
    file.write_text(f'[auth.callback]\nurl = "{URL}"\nsecret_files = ["a"]\n')
    change = compare(before, load(file, {}, {}))
    assert change.config.auth.callback == CallbackSettings(url=URL, secret_files=("a",))
    assert change.applied == ("auth.callback",)


ROWS = [row for row in fields(CallbackSettings) if row.metadata]
ROOT = Path(__file__).parent.parent.parent


def test_keys_are_documented() -> None:
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = manual.partition("\nThe section `[auth.callback]`")[2].partition("\n```")[0]
    defaults = {
        row.name: "must be given" if row.default is MISSING else f"`{json.dumps(row.metadata['default'])}`"
        for row in ROWS
    }
    assert re.findall(r"(?m)^\| (`[a-z_]+` \| .*) \|$", section) == [
        f"`{row.name}` | {defaults[row.name]} | {row.metadata['unit']} | {row.metadata['description']}" for row in ROWS
    ]


def test_keys_are_in_the_sample_file() -> None:
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    section = sample.partition("\n#[auth.callback]\n")[2].partition("\n\n# An issuer")[0]
    assert re.findall(r"(?m)^# (.+)\n#([a-z_]+) = ", section) == [
        (row.metadata["description"], row.name) for row in ROWS
    ]
    settings = read_callback(tomllib.loads(re.sub(r"(?m)^#(?! )", "", section)))
    assert settings == CallbackSettings(url=settings.url, secret_files=settings.secret_files)

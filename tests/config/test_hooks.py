"""The sections [hook.NAME]: parsing, errors, files and reload."""

import base64
import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pushd.backends.hook_outbox import HookBounds
from pushd.config.hooks import MAX_HOOKS, HookSettings, build_hooks
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.reload import compare
from pushd.config.table import Config
from pushd.hooks.endpoint import EVENT_TYPES

ROOT = Path(__file__).parents[2]
ROWS = [row for row in fields(HookSettings) if row.metadata]
URL = "https://app.example.org/hooks"


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "pushd.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {}, {})


def hook(name: str = "app", **settings: Any) -> str:
    rows = {"url": URL, "events": ["connect"], "secret_files": ["hook.secret"], **settings}
    return "\n".join([f"[hook.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]) + "\n"


def test_no_hooks_by_default(tmp_path: Path) -> None:
    assert load(None, {}, {}).hooks == loaded(tmp_path, "").hooks == ()


def test_hook_with_its_secrets(tmp_path: Path) -> None:
    secrets = [os.urandom(32), os.urandom(24)]
    files = []
    for number, secret in enumerate(secrets):
        file = tmp_path / f"{number}.secret"
        file.write_text(f"whsec_{base64.b64encode(secret).decode()}\n")
        files.append(str(file))
    text = hook(secret_files=files, events=list(EVENT_TYPES), channels=["chat/*", "$sys/x"], content=True)
    (endpoint,) = build_hooks(loaded(tmp_path, text).hooks)
    assert (endpoint.name, endpoint.url, endpoint.keys) == ("app", URL, tuple(secrets))
    assert endpoint.events == frozenset(EVENT_TYPES)
    assert endpoint.has_content
    assert endpoint.wants("publish", "chat/a")
    assert endpoint.wants("subscribe", "$sys/x")
    assert endpoint.wants("connect")
    assert not endpoint.wants("publish", "chat/a/b")
    assert not endpoint.wants("subscribe", "chat/**")


def test_bounds_of_the_backlog(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("whsec_" + "QUJD" * 10)
    secrets = [str(tmp_path / "s")]
    rows = hook("a", secret_files=secrets) + hook("b", secret_files=secrets, backlog=2000, backlog_bytes="1MiB")
    default, bounded = build_hooks(loaded(tmp_path, rows).hooks)
    assert default.bounds == HookBounds() == (100_000, 64 << 20, 24 * 3600.0)
    assert bounded.bounds == (2000, 1 << 20, 24 * 3600.0)


def test_hook_has_all_channels_by_default(tmp_path: Path) -> None:
    ((name, settings),) = loaded(tmp_path, hook()).hooks
    assert (name, settings.channels, settings.content) == ("app", ("**",), False)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"url": ""}, "hook.app.url: '' is not a non-blank string"),
        ({"url": "ftp://x"}, "hook.app.url: 'ftp://x' is not a URL"),
        ({"url": "https://u:p@x/"}, "hook.app.url: must not contain a user name or a password"),
        (
            {"url": "https://169.254.169.254/"},
            "hook.app.url: 'https://169.254.169.254/' is refused: 169.254.169.254 is",
        ),
        ({"url": "http://[fe80::1]/"}, "is a link-local address, or that of a metadata service"),
        ({"url": "http://93.184.215.14/"}, "93.184.215.14 is a public address, which needs https://"),
        ({"events": []}, "hook.app.events: must name at least one event"),
        ({"events": ["conect"]}, "hook.app.events: 'conect' is not one of .*, did you mean connect?"),
        ({"channels": ["a//b"]}, "hook.app.channels: 'a//b' is neither a channel nor a pattern"),
        ({"channels": []}, "hook.app.channels: must have 1 to 1000 entries"),
        ({"secret_files": []}, "hook.app.secret_files: must name one or two files"),
        ({"secret_files": ["a", "b", "c"]}, "hook.app.secret_files: must name one or two files"),
        ({"backlog": 999}, "hook.app.backlog: 999 is too small"),
        ({"backlog_bytes": "1KiB"}, "hook.app.backlog_bytes: '1KiB' is too small"),
        ({"content": "maybe"}, "hook.app.content: 'maybe' is neither true nor false"),
        ({"contents": True}, "unknown key hook.app.contents, did you mean hook.app.content?"),
    ],
    ids=str,
)
def test_error_names_the_key(tmp_path: Path, settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error.replace("[", r"\[").replace("?", r"\?")):
        loaded(tmp_path, hook(**settings))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hook = 3\n", "hook: must have a section for each hook"),
        ("[hook]\nurl = 'https://x'\n", "hook: must have a section for each hook"),
        ("[hook.app]\nurl = 'https://x'\n", "hook.app.(events|secret_files): is missing"),
        ("[hook.'a b']\n", "name of a hook must have 1 to 64 letters"),
        ("".join(hook(f"h{number}") for number in range(MAX_HOOKS + 1)), "hook: must not have more than 32 sections"),
    ],
    ids=["number", "no-name", "missing", "name", "too-many"],
)
def test_error_of_the_sections(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        loaded(tmp_path, text)


def test_missing_file_is_an_error_with_its_key(tmp_path: Path) -> None:
    config = loaded(tmp_path, hook(secret_files=[str(tmp_path / "none")]))
    with pytest.raises(ValueError, match=r"hook\.app\.secret_files: .*none: No such file"):
        build_hooks(config.hooks)


def test_reload_applies_hooks(tmp_path: Path) -> None:
    now, after = loaded(tmp_path, hook()), loaded(tmp_path, hook(content=True))
    change = compare(now, after)
    assert change.applied == ("hook",)
    assert change.config.hooks == after.hooks
    assert compare(now, now).applied == ()


def test_keys_are_documented() -> None:
    section = (ROOT / "docs/configuration.md").read_text().partition("## Hooks\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert [(name, unit, text) for name, _, unit, text in documented] == [
        (row.name, row.metadata["unit"], row.metadata["description"]) for row in ROWS
    ]


def test_sample_file_has_a_commented_section_with_all_keys(tmp_path: Path) -> None:
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    section = sample[sample.index("#[hook.NAME]") :].partition("\n# Settings of the channels")[0]
    for row in ROWS:
        assert f"\n# {row.metadata['description']}\n#{row.name} = " in section
    ((name, _),) = loaded(tmp_path, "\n".join(re.findall(r"(?m)^#(\S.*)$", section))).hooks
    assert name == "NAME"

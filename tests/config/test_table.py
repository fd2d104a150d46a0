"""The configuration: its sources, their precedence, and the errors about invalid settings."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactor

from pushd.config.checks import check_backend, check_listeners, check_origins
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.table import SETTINGS, AccessSettings, Config, HttpSettings, TcpSettings
from pushd.core.grant import NOTHING

ROOT = Path(__file__).parent.parent.parent
KIB, MIB = 1 << 10, 1 << 20
LOOPBACK = "tcp:0:interface=127.0.0.1"

DEFAULTS = {
    "http.listen": ("tcp:8080:interface=127.0.0.1",),
    "http.admin_listen": (),
    "http.console": True,
    "http.reuse_port": False,
    "http.allow_credentials": False,
    "http.allow_origins": (),
    "http.hosts": (),
    "http.pull_hosts": (),
    "http.trusted_proxies": (),
    "tcp.listen": ("tcp:8081:interface=127.0.0.1",),
    "tcp.reuse_port": False,
    "access.open": False,
    "auth.tokens_file": "",
    "auth.cookie": "__Host-pushd",
    "auth.query_tokens": False,
    "auth.revocations_file": "",
    "auth.blind_seconds": 30.0,
    "auth.grace": 25.0,
    "limits.message": MIB,
    "limits.batch": 16 * MIB,
    "limits.event": 255,
    "limits.topics": 1000,
    "limits.subscriptions": 10_000,
    "limits.channels": 100_000,
    "limits.connections": 100_000,
    "limits.connections_per_address": 10_000,
    "limits.messages_per_second": 10_000,
    "limits.queue_bytes": MIB,
    "limits.queue_messages": 1000,
    "limits.waiting_bytes": 256 * MIB,
    "limits.handshake": 10.0,
    "limits.upload": 300.0,
    "limits.headers": 16 * KIB,
    "history.messages": 1000,
    "history.bytes": 4 * MIB,
    "history.age": 86400.0,
    "history.total_bytes": 256 * MIB,
    "presence.disabled": False,
    "presence.grace": 15.0,
    "presence.members": 100_000,
    "presence.events": 1000,
    "presence.age": 3600.0,
    "presence.event_bytes": 64 * MIB,
    "presence.heartbeat_channel": "online",
    "presence.heartbeat_ttl": 30.0,
    "dialects.enable": (),
    "backend.kind": "auto",
    "backend.data_dir": "",
    "backend.sync": "full",
    "backend.url": "",
    "backend.prefix": "pushd:",
    "backend.publish_timeout": 5.0,
    "backend.when_away": "refuse",
    "backend.ca_file": "",
    "keepalive.sse": 15.0,
    "keepalive.stream": 25.0,
    "keepalive.ping": 25.0,
    "keepalive.pong": 10.0,
    "keepalive.dead_peer": 50.0,
    "stop.patience": 5.0,
    "stop.spread": 10.0,
    "log.format": "auto",
    "log.level": "info",
    "log.levels": (),
    "log.access": 0.0,
    "log.audit": "",
}


def config_file(tmp_path: Path, text: str) -> Path:
    """Write a configuration file."""
    file = tmp_path / "pushd.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_as_documented():
    config = load(None, {}, {})
    assert {row.key: getattr(getattr(config, row.section), row.name) for row in SETTINGS} == DEFAULTS


def test_config_without_arguments_has_the_defaults():
    assert Config() == load(None, {}, {})


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_setting_is_read_from_the_file_the_environment_and_an_option(row, tmp_path):
    special = {
        "http.console": "false",
        "log.format": "json",
        "log.level": "debug",
        "http.allow_origins": "*",
        "http.trusted_proxies": "::1",
    }
    special |= {
        "http.hosts": "example.org",
        "http.pull_hosts": "example.org",
        "backend.kind": "sqlite",
        "backend.sync": "normal",
    }
    special |= {"backend.url": "redis://host/1", "backend.publish_timeout": "2s", "backend.when_away": "local"}
    special |= {"auth.grace": "60", "dialects.enable": "bayeux"}
    special |= {"log.levels": "pushd=warn", "log.access": "0.5"}
    text = special.get(row.key, "true" if row.is_flag else LOOPBACK if row.repeatable else "4096")
    file = config_file(tmp_path, f"[{row.section}]\n{row.name} = {json.dumps(text)}\n")
    expected = row.parse(text)
    assert expected != DEFAULTS[row.key]
    for config in (
        load(file, {}, {}),
        load(None, {row.variable: text}, {}),
        load(None, {}, {row.key: [text]}),
    ):
        assert getattr(getattr(config, row.section), row.name) == expected


def test_options_override_the_environment_which_overrides_the_file(tmp_path):
    file = config_file(tmp_path, "[limits]\nmessage = 1\nevent = 1\ntopics = 1\n")
    environ = {"PUSHD_LIMITS_MESSAGE": "2", "PUSHD_LIMITS_EVENT": "2", "PATH": "/bin"}
    limits = load(file, environ, {"limits.message": ["3"]}).limits
    assert (limits.message, limits.event, limits.topics) == (3, 2, 1)


def test_repeated_option_extends_a_list_or_replaces_another_value():
    options = {"http.listen": ["tcp:1", "tcp:2,tcp:3"], "limits.event": ["10", "20"]}
    config = load(None, {}, options)
    assert (config.http.listen, config.limits.event) == (("tcp:1", "tcp:2", "tcp:3"), 20)


@pytest.mark.parametrize(
    ("key", "within", "beyond"),
    [
        *((row.key, "1", "0") for row in SETTINGS if row.section == "limits" and row.name != "headers"),
        ("limits.headers", "1024", "1023"),
        ("history.messages", "0", "-1"),
        ("history.bytes", "0", "-1"),
        ("history.age", "1", "0.9"),
        ("history.total_bytes", "0", "-1"),
        ("keepalive.sse", "1", "0.9"),
        ("keepalive.stream", "1", "0.9"),
        ("keepalive.ping", "1", "0.9"),
        ("keepalive.pong", "1", "0.9"),
        ("keepalive.dead_peer", "5", "4.9"),
        ("keepalive.dead_peer", "32767", "32768"),
        ("stop.patience", "0", "-1"),
        ("stop.patience", "86400", "86401"),
        ("stop.spread", "0", "-1"),
        ("stop.spread", "86400", "86401"),
    ],
)
def test_number_is_bounded(key, within, beyond):
    load(None, {}, {key: [within]})
    with pytest.raises(ConfigError):
        load(None, {}, {key: [beyond]})


def test_none_disables_a_listener():
    assert load(None, {}, {"tcp.listen": ["none"]}).tcp.listen == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[limits]\nmessage = 'lots'",
            ':2: limits.message: \'lots\' is not a size (examples: 65536, "64KiB", "4MiB")',
        ),
        ("[limits]\nmesage = 1", ":2: unknown key limits.mesage, did you mean limits.message?"),
        ("[limits]\nzzzzzz = 1", ":2: unknown key limits.zzzzzz"),
        ("[limit]\nmessage = 1", ":1: unknown section [limit], did you mean [limits]?"),
        ("[zzzzzz]\nmessage = 1", ":1: unknown section [zzzzzz]"),
        ("limits = 5", ":1: limits: must be a section, written [limits]"),
        ("[limits]\nmessage = ?\n", ":2:11: not TOML: Invalid value"),
        ("[log]\nformat = 5", ":2: log.format: 5 is not one of auto, text, json"),
    ],
)
def test_invalid_file_is_reported_in_one_sentence(tmp_path, text, sentence):
    file = config_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert str(caught.value) == f"{file}{sentence}"


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file or directory$"):
        load(tmp_path / "nowhere.toml", {}, {})


def test_file_that_is_not_text_is_reported(tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_bytes(b"[log]\nlevel = '\xff'")
    with pytest.raises(ConfigError, match=r"pushd\.toml:2: not UTF-8 at byte 15$"):
        load(file, {}, {})


@pytest.mark.parametrize(
    ("environ", "options", "sentence"),
    [
        ({"PUSHD_LIMITS_MESSAGE": "x"}, {}, "environment PUSHD_LIMITS_MESSAGE: 'x' is not a size"),
        (
            {"PUSHD_LIMITS_MESAGE": "1"},
            {},
            "environment: unknown variable PUSHD_LIMITS_MESAGE, did you mean PUSHD_LIMITS_MESSAGE?",
        ),
        ({"PUSHD_": "1"}, {}, "environment: unknown variable PUSHD_"),
        ({}, {"limits.queue_bytes": ["x"]}, "option --limits-queue-bytes: 'x' is not a size"),
        ({}, {"history.age": ["0"]}, "option --history-age: '0' is too small (must be at least 1 seconds)"),
    ],
)
def test_invalid_variable_or_option_is_reported_by_name(environ, options, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        load(None, environ, options)


def test_variables_of_pushctl_are_ignored():
    assert load(None, {"PUSHD_TOKEN": "x", "PUSHD_TOKEN_FILE": "y"}, {}) == load(None, {}, {})
    with pytest.raises(ConfigError, match="unknown variable PUSHD_TOKENS"):
        load(None, {"PUSHD_TOKENS": "x"}, {})


def test_overridden_value_is_checked_too():
    with pytest.raises(ConfigError, match=r"^environment PUSHD_LOG_LEVEL"):
        load(None, {"PUSHD_LOG_LEVEL": "loud"}, {"log.level": ["info"]})


def config_with(http: tuple[str, ...] = (), tcp: tuple[str, ...] = (), open: bool = False) -> Config:
    return Config(http=HttpSettings(listen=http), tcp=TcpSettings(listen=tcp), access=AccessSettings(open=open))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (config_with(http=("nonsense:1",)), "http.listen: 'nonsense:1' is not an endpoint string ("),
        (config_with(tcp=("tcp:x",)), "tcp.listen: 'tcp:x' is not an endpoint string ('x' is not a number"),
        (config_with(http=(LOOPBACK,), tcp=("tcp:0",)), "tcp.listen: tcp:0 is open to other machines"),
        (config_with(), "http.listen and tcp.listen must not both be empty"),
    ],
)
def test_invalid_listeners_are_reported(config, sentence):
    [mistake] = check_listeners(config, MemoryReactor())
    assert str(mistake).startswith(sentence)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        config_with(http=(LOOPBACK,)),
        config_with(tcp=("unix:/run/pushd.sock",)),
        config_with(http=("tcp:80",), tcp=("tcp6:81",), open=True),
    ],
)
def test_valid_listeners_are_accepted(config):
    assert list(check_listeners(config, MemoryReactor())) == []


def test_uncommented_sample_file_has_the_defaults():
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    content = tomllib.loads(re.sub(r"(?m)^#(?! )", "", sample))
    del (
        content["source"],
        content["channel"],
        content["hook"],
        content["auth"]["anonymous"],
        content["auth"]["issuer"],
        content["auth"]["callback"],
        content["dialects"]["bayeux"],
    )  # there are none by default, or they have no option
    found = [(f"{section}.{name}", value) for section, rows in content.items() for name, value in rows.items()]
    assert found == [(row.key, row.default) for row in SETTINGS]


def test_sample_file_changes_nothing():
    assert load(ROOT / "etc/pushd.toml", {}, {}) == Config()


@pytest.mark.parametrize(
    ("text", "environ", "options", "is_enabled"),
    [
        ("", {}, {}, False),
        ("[auth]\n", {}, {}, False),
        ("[auth]\nquery_tokens = false\n", {}, {}, True),
        ("[auth.anonymous]\n", {}, {}, True),
        ("", {"PUSHD_AUTH_TOKENS_FILE": "x"}, {}, True),
        ("", {}, {"auth.query_tokens": ["false"]}, True),
    ],
)
def test_authentication_is_enabled_by_any_key(tmp_path, text, environ, options, is_enabled):
    auth = load(config_file(tmp_path, text), environ, options).auth
    assert (auth.is_enabled, auth.anonymous) == (is_enabled, NOTHING)


def test_grant_of_anonymous_peers_is_read_from_the_file(tmp_path):
    text = "[auth]\nquery_tokens = true\n[auth.anonymous]\nsubscribe = ['public/**']\n"
    auth = load(config_file(tmp_path, text), {}, {}).auth
    assert (auth.query_tokens, auth.anonymous.allow["subscribe"]) == (True, ("public/**",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("auth = 5", ":1: auth: must be a section, written [auth]"),
        ("[auth]\nanonymous = 5", ":2: auth.anonymous: must be a section, written [auth.anonymous]"),
        ("[auth.anonymous]\nsubscribes = []", ":2: auth.anonymous: unknown key 'subscribes' (accepted: "),
        ("[auth]\ntoken_file = ''", ":2: unknown key auth.token_file, did you mean auth.tokens_file?"),
    ],
)
def test_invalid_section_of_authentication_is_reported(tmp_path, text, sentence):
    file = config_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})
    assert str(caught.value).startswith(f"{file}{sentence}")


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_setting_is_documented(row):
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    default = json.dumps(row.default)
    assert f"# {row.description}\n#{row.name} = {default}\n" in sample
    assert f"| `{row.key}` | `{default}` | {row.unit} | {row.description} |\n" in manual
    assert not row.alias or f"| `--{row.alias}" in manual


def test_documented_settings_exist():
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([a-z_]+\.[a-z_]+)` \|", manual)
    assert rows == [row.key for row in SETTINGS]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"backend.kind": ["redis"]}, "backend.kind: redis requires a URL"),
        (
            {"backend.kind": ["memory"], "backend.url": ["redis://a"]},
            "^option --redis: must not be set for the backend memory",
        ),
        ({"backend.kind": ["sqlite"]}, "requires a directory"),
        ({"backend.kind": ["memory"], "backend.data_dir": ["/x"]}, "must not be set for"),
        ({"backend.data_dir": ["/x"], "backend.url": ["redis://a"]}, "either on disk or in Redis"),
        ({"backend.data_dir": ["/x"], "auth.revocations_file": ["/r"]}, "--auth-revocations-file: is for the memory"),
        ({"backend.kind": ["redis"], "backend.url": ["redis://a"], "backend.data_dir": ["/x"]}, "must not be set for"),
    ],
)
def test_conflicting_backend_settings_are_reported(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load(None, {}, options, [check_backend])


def test_every_origin_together_with_credentials_is_reported():
    credentials = {"http.allow_credentials": ["true"]}
    with pytest.raises(ConfigError, match=r"^option --http-allow-credentials: http.allow_origins must name"):
        load(None, {}, credentials | {"http.allow_origins": ["*"]}, [check_origins])
    load(None, {}, credentials | {"http.allow_origins": ["https://a.example"]}, [check_origins])
    load(None, {}, {"http.allow_origins": ["*"]}, [check_origins])


@pytest.mark.parametrize(
    ("key", "text"), [("backend.url", "redis://s3cret@a"), ("backend.url", "http://a"), ("backend.prefix", "a b")]
)
def test_invalid_url_or_prefix_is_reported_without_its_password(key, text):
    with pytest.raises(ConfigError, match="--") as caught:
        load(None, {}, {key: [text]})
    assert "s3cret" not in str(caught.value)


def test_settings_that_need_a_restart_are_documented():
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = manual.partition("\n## Reading it again\n")[2].partition("\n## ")[0]
    assert re.findall(r"`([a-z_]+\.[a-z_]+)`", section) == [row.key for row in SETTINGS if row.at_restart]

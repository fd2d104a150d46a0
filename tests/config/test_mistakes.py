"""All mistakes of a configuration are reported at once, each with its place."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pushd.config.checks import check_backend, check_origins
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError, key_of, shown

TEXT = """\
[http]
listen = [
  ":8080",
  "foo",
  "[::1]:99999",
]
open = true
[limits]
mesage = 1
event = "x"
[auth]
blind_seconds = []
[auth.callback]
url = 5
secret_file = "a"
[auth.anonymous]
subscribe = 3
publis = []
[auth.issuer.shop]
claims_map = { sub = 1, subscribe = "c" }
[auth.url_keys]
"a b" = "x"
[hook.app]
url = "http://93.184.215.14/"
events = ["publsh", "connect", "leaf"]
[[channel]]
match = "a"
[[channel]]
match = "a"
[[channel]]
age = 1979-05-27
[source.x]
kind = "comand"
[source.y]
kind = "words"
[dialekts]
[history]
age = { hours = 3 }
"""
SENTENCES = """\
4: http.listen: 'foo' is neither an address with a port nor an endpoint string (accepted: HOST:PORT
5: http.listen: '[::1]:99999' has an invalid port: must be between 0 and 65535
7: unknown key http.open, did you mean access.open?
9: unknown key limits.mesage, did you mean limits.message?
10: limits.event: 'x' is not a size (examples:
12: auth.blind_seconds: [] is not a duration (examples:
13: auth.callback.secret_files: is missing
14: auth.callback.url: 5 is not a non-blank string
15: unknown key auth.callback.secret_file, did you mean auth.callback.secret_files?
17: auth.anonymous: subscribe: 3 is not a list of strings
18: auth.anonymous: unknown key 'publis' (accepted:
19: auth.issuer.shop.issuer: is missing
19: auth.issuer.shop.audience: is missing
19: auth.issuer.shop.algorithms: is missing
20: auth.issuer.shop.claims_map: unknown key sub (one of
22: auth.url_keys.'a b': id of a key must have
23: hook.app.secret_files: is missing
24: hook.app.url: 'http://93.184.215.14/' is refused:
25: hook.app.events: 'publsh' is not one of
25: hook.app.events: 'leaf' is not one of
29: channel[2].match: must differ from channel[1].match, which is the first match
30: channel[3].match: is missing
31: channel[3].age: a date is not a duration (examples:
33: source.x.kind: 'comand' is not one of system, command, watch, words, did you mean command?
34: source.y.channel: is missing
36: unknown section [dialekts]
38: history.age: a table is not a duration (examples:
""".splitlines()


def mistakes(
    file: Path | None, environ: Mapping[str, str], options: Mapping[str, Sequence[str]], **more: object
) -> tuple[str, ...]:
    """Return all sentences."""
    with pytest.raises(ConfigError) as caught:
        load(file, environ, options, **more)  # type: ignore[arg-type]
    return caught.value.sentences


def test_all_mistakes_of_a_file_are_reported_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text(TEXT)
    found = mistakes(file, {}, {})
    assert len(found) == len(SENTENCES)
    for sentence, start in zip(found, SENTENCES, strict=True):
        assert sentence.startswith(f"{file}:{start}")


def test_mistakes_of_all_sources_are_one_error(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text("[log]\nlevel = 5\n")
    environ = {"PUSHD_LOG_FORMAT": "xml", "PUSHD_LIMITS_MESAGE": "1"}
    with pytest.raises(ConfigError) as caught:
        load(file, environ, {"history.age": ["soon"]}, refused=["unknown option --htp"])
    first, *lines = str(caught.value).splitlines()
    assert first == "5 mistakes in the configuration:"
    assert [line.split(": ")[0] for line in lines] == [
        f"  {file}:2",
        "  environment",
        "  environment PUSHD_LOG_FORMAT",
        "  option --history-age",
        "  unknown option --htp",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[a]\nb = \n", ":2:5: not TOML: Invalid value"),
        ("[log]\nlevel = 'a'\nlevel = 'b'\n", ":3:12: not TOML: Cannot overwrite a value"),
        ("a = [\n1,", ":2:3: not TOML: Invalid value at the end of the file"),
        ("a = " + "[" * 5000, ": "),
        ("a = " + "9" * 5000, ": not TOML: Exceeds the limit"),
    ],
)
def test_syntax_error_has_line_and_column(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text(text)
    [found] = mistakes(file, {}, {})
    assert found.startswith(f"{file}{sentence}")


def test_unreadable_file_hides_no_mistake_elsewhere(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {}, {"log.level": ["loud"], "backend.kind": ["redis"]}, checks=[check_backend])
    assert found[0] == f"{tmp_path}: Is a directory"
    assert len(found) == 2  # what depends on the content of the file is not checked


def test_setting_with_a_mistake_causes_no_other(tmp_path: Path) -> None:
    options = {"backend.kind": ["redis"], "backend.url": ["http://x"], "http.allow_credentials": ["yes"]}
    [found] = mistakes(None, {}, options, checks=[check_backend, check_origins])
    assert found.startswith("option --redis: not a Redis URL")


def test_mistake_of_a_check_is_where_the_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text("[backend]\nkind = 'sqlite'\n")
    assert mistakes(file, {}, {}, checks=[check_backend])[0].startswith(f"{file}:2: backend.kind: sqlite requires")
    environ = {"PUSHD_BACKEND_KIND": "redis"}
    assert mistakes(file, environ, {}, checks=[check_backend])[0].startswith("environment PUSHD_BACKEND_KIND: redis")


def test_names_in_errors_are_escaped(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text('"a\\nb" = 1\n[log]\n"c\\nd" = 1\n[source."e\\nf"]\n', encoding="utf-8")
    found = mistakes(file, {"PUSHD_g\nh": "1"}, {"log.level": ["i\nj\udcff"]})
    assert len(found) == 6
    assert not any("\n" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "'x'"),
        ("x" * 100, f"'{'x' * 64}'..."),
        (True, "true"),
        (1.5, "1.5"),
        (["a", 1], "['a', 1]"),
        (["a" * 60] * 2, "a list"),
        ({}, "a table"),
        (None, "this value"),
    ],
)
def test_value_is_shown_as_it_is_written(value: object, text: str) -> None:
    assert shown(value) == text


def test_key_is_shown_with_the_number_of_its_table() -> None:
    assert key_of(("channel", 2, "age")) == "channel[2].age"
    assert key_of(("source", "a b", "kind")) == "source.'a b'.kind"

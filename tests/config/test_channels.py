"""The tables [[channel]]: parsing, errors and documentation."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pushd.config.channels import MAX_RULES, ChannelSettings
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.table import Config
from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.outbox import Policy

ROOT = Path(__file__).parents[2]
ROWS = [row for row in fields(ChannelSettings) if row.metadata]


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "pushd.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {}, {})


def test_no_rules_by_default(tmp_path: Path) -> None:
    assert load(None, {}, {}).channels == loaded(tmp_path, "").channels == ChannelRules()


def test_tables_are_read_in_file_order(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "[[channel]]\nmatch = 'room/*/typing'\nmessages = 0\nbytes = '1KiB'\nage = '7d'\nttl = '500ms'\nkeep = false\n"
        "slow = 'Latest'\npresence = false\n[history]\nage = '1h'\n[[channel]]\nmatch = '$sys/**'\n",
    )
    first = ChannelRule("room/*/typing", 0, 1024, 604800.0, 0.5, False, Policy.LATEST, False)
    assert config.channels == ChannelRules([first, ChannelRule("$sys/**")])
    assert config.history.age == 3600


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("messages = 1", r"channel\[2\]\.match: is missing"),
        ("match = 'a//b'", r"channel\[2\]\.match: 'a//b' is neither a channel nor a pattern: topic must not have an"),
        ("match = '**/a'", r"channel\[2\]\.match: '\*\*/a' is neither a channel nor a pattern"),
        ("match = 3", r"channel\[2\]\.match: 3 is not a non-blank string"),
        ("match = 'x'", r"channel\[2\]\.match: must differ from channel\[1\]\.match, which is the first match"),
        ("match = 'a'\nmessages = -1", r"channel\[2\]\.messages: -1 is not a whole number"),
        ("match = 'a'\nbytes = 'lots'", r"channel\[2\]\.bytes: 'lots' is not a size"),
        ("match = 'a'\nage = 'soon'", r"channel\[2\]\.age: 'soon' is not a duration"),
        ("match = 'a'\nage = 0", r"channel\[2\]\.age: 0 is too small"),
        ("match = 'a'\nttl = '20000d'", r"channel\[2\]\.ttl: '20000d' is too long"),
        ("match = 'a'\nkeep = 'maybe'", r"channel\[2\]\.keep: 'maybe' is neither true nor false"),
        ("match = 'a'\nslow = 'wait'", r"channel\[2\]\.slow: 'wait' is not one of disconnect, drop, latest"),
        ("match = 'a'\nmesages = 1", r"unknown key channel\[2\]\.mesages, did you mean channel\[2\]\.messages\?"),
    ],
)
def test_error_names_the_table_and_the_key(tmp_path: Path, table: str, error: str) -> None:
    with pytest.raises(ConfigError, match=rf"pushd\.toml:[34567]: {error}"):
        loaded(tmp_path, f"[[channel]]\nmatch = 'x'\n[[channel]]\n{table}\n")


@pytest.mark.parametrize("text", ["channel = 3", "[channel]\nmatch = 'a'", "channel = ['a']"])
def test_tables_are_a_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"channel: must be a list of tables, each written \[\[channel\]\]$"):
        loaded(tmp_path, text)


def test_misspelled_table_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown section \[channels\], did you mean \[\[channel\]\]\?"):
        loaded(tmp_path, "[[channels]]\nmatch = 'a'")


def test_number_of_tables_is_limited(tmp_path: Path) -> None:
    tables = [f"[[channel]]\nmatch = 'a/{number}'\n" for number in range(MAX_RULES + 1)]
    assert len(loaded(tmp_path, "".join(tables[:-1])).channels.rules) == MAX_RULES
    with pytest.raises(ConfigError, match=r"channel: must not have more than 1000 tables \(got 1001\)"):
        loaded(tmp_path, "".join(tables))


def test_keys_are_documented() -> None:
    section = (ROOT / "docs/configuration.md").read_text().partition("## Channels\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert documented == [(row.name, row.metadata["unit"], row.metadata["description"]) for row in ROWS]


def test_sample_file_has_one_commented_table_with_all_keys(tmp_path: Path) -> None:
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    assert load(ROOT / "etc/pushd.toml", {}, {}).channels == ChannelRules()
    table = sample[sample.index("#[[channel]]") :].partition("\n#[")[0]
    for row in ROWS:
        assert f"\n# {row.metadata['description']}\n#{row.name} = " in table
    (rule,) = loaded(tmp_path, "\n".join(re.findall(r"(?m)^#(\S.*)$", table))).channels.rules
    assert None not in rule

"""The settings of sources: parsing, errors and documentation."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.sources import KINDS, CommandSource, SystemSource, WatchSource, WordsSource
from pushd.config.table import Config
from tests.sources.source_harness import SourceHarness

ROOT = Path(__file__).parents[2]


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "pushd.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, {}, {})


def rows() -> Iterator[tuple[str, Field[Any]]]:
    for kind, source in KINDS.items():
        for row in fields(source):
            if row.metadata:
                yield kind, row


ROWS = list(rows())
ROW_NAMES = [f"{kind}.{row.name}" for kind, row in ROWS]


def test_no_sources_by_default(tmp_path):
    assert load(None, {}, {}).sources == ()
    assert loaded(tmp_path, "[source]").sources == ()


def test_kinds_are_read_in_file_order_with_defaults(tmp_path):
    sources = loaded(
        tmp_path,
        "[source.w-1]\nkind = 'words'\nchannel = 'a'\n"
        "[source.sys]\nkind = 'System'\n"
        "[source.run]\nkind = 'command'\nchannel = 'b/c'\nrun = ['true']\n"
        "[source.dir_]\nkind = 'watch'\nchannel = '$d'\nfolder = '/tmp'\n",
    ).sources
    assert sources == (
        WordsSource(name="w-1", channel="a"),
        SystemSource(name="sys", channel="$sys/performance", interval=1.0, disks=("/",)),
        CommandSource(name="run", channel="b/c", run=("true",), restart="always", content_type=None),
        WatchSource(name="dir_", channel="$d", folder="/tmp", recursive=False, poll=False, interval=2.0, settle=0.1),
    )
    assert (sources[0].interval, sources[0].repeat, sources[0].pause, sources[3].files) == (1.0, True, 10.0, 10_000)


def test_all_keys_are_read(tmp_path):
    sources = loaded(
        tmp_path,
        "[source.a]\nkind='words'\nchannel='a'\ntext='x y'\ninterval=0.5\nrepeat=false\npause='1m'\n"
        "[source.b]\nkind='system'\nchannel='b'\ninterval=5\ndisks=['/', '/my disk']\n"
        "[source.c]\nkind='command'\nchannel='c'\nrun=['sh', '-c', '']\nrestart='never'\n"
        "content_type='application/json'\n"
        "[source.d]\nkind='watch'\nchannel='d'\nfolder='x'\nrecursive=true\npoll=true\ninterval=1\nsettle=1\nfiles=5\n",
    ).sources
    assert sources == (
        WordsSource(name="a", channel="a", text="x y", interval=0.5, repeat=False, pause=60.0),
        SystemSource(name="b", channel="b", interval=5.0, disks=("/", "/my disk")),
        CommandSource(name="c", channel="c", run=("sh", "-c", ""), restart="never", content_type="application/json"),
        WatchSource(name="d", channel="d", folder="x", recursive=True, poll=True, interval=1.0, settle=1.0, files=5),
    )


def test_content_type_keeps_its_charset(tmp_path):
    text = "[source.c]\nkind='command'\nchannel='c'\nrun=['x']\ncontent_type='text/plain; charset=iso-8859-1'\n"
    (source,) = loaded(tmp_path, text).sources
    assert isinstance(source, CommandSource)
    assert source.content_type == "text/plain; charset=iso-8859-1"


WORDS = "[source.cam]\nkind='words'\nchannel='a'\n"
COMMAND = "[source.cam]\nkind='command'\nchannel='a'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source = 5", "source: must be a table of sections, written [source.NAME]"),
        ("[source]\nkind = 'words'", "source.kind: must be a section, written [source.kind]"),
        (
            "[source.'a b']\nkind = 'words'\nchannel = 'a'",
            "source.'a b': name must have 1 to 64 letters, digits, - and _",
        ),
        ("[sources.cam]\nkind = 'words'", "unknown section [sources], did you mean [source]?"),
        ("[source.cam]", "source.cam.kind: is missing (must be one of system, command, watch, words)"),
        ("[source.cam]\nkind = 'x'", "source.cam.kind: 'x' is not one of system, command, watch, words"),
        ("[source.cam]\nkind = 'words'", "source.cam.channel: is missing"),
        (COMMAND, "source.cam.run: is missing"),
        ("[source.cam]\nkind = 'watch'\nchannel = 'a'", "source.cam.folder: is missing"),
        (WORDS + "intervall = 1", "unknown key source.cam.intervall, did you mean source.cam.interval?"),
        (WORDS + "zzzzzzz = 1", "unknown key source.cam.zzzzzzz"),
        (WORDS + "name = 'x'", "unknown key source.cam.name"),
        (
            WORDS + "interval = 'often'",
            'source.cam.interval: \'often\' is not a duration (examples: 10, 2.5, "10s", "15m", "24h", "7d")',
        ),
        (WORDS + "interval = 0.001", "source.cam.interval: 0.001 is too small (must be at least 0.01 seconds)"),
        (WORDS + "text = '  '", "source.cam.text: '  ' is not a non-blank string"),
        (WORDS + "text = 5", "source.cam.text: 5 is not a non-blank string"),
        (WORDS + "repeat = 'perhaps'", "source.cam.repeat: 'perhaps' is neither true nor false"),
        (
            "[source.cam]\nkind = 'words'\nchannel = 'a b'",
            "source.cam.channel: 'a b' is not a channel name: "
            "channel name must not contain white space, control characters or any of * , ? # \\",
        ),
        (COMMAND + "run = 'ls -l'", "source.cam.run: 'ls -l' is not a program and its arguments (example: "),
        (COMMAND + "run = []", "source.cam.run: [] is not a program and its arguments (example: "),
        (COMMAND + "run = ['ls', 5]", "source.cam.run: ['ls', 5] is not a program and its arguments (example: "),
        (COMMAND + "run = ['']", "source.cam.run: [''] is not a program and its arguments (example: "),
        (COMMAND + "run = ['ls', \"a\\u0000\"]", "source.cam.run: ['ls', 'a\\x00'] is not a program and its"),
        (
            COMMAND + "run = ['ls']\ncontent_type = 'json'",
            "source.cam.content_type: 'json' is not accepted: content type must be",
        ),
        (COMMAND + "run = ['ls']\ncontent_type = 5", "source.cam.content_type: 5 is not a content type"),
        (COMMAND + "run = ['ls']\nrestart = true", "source.cam.restart: true is not one of always, never"),
    ],
)
def test_invalid_settings_are_reported_with_file_and_key(tmp_path, text, sentence):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert re.sub(r"(?<=toml):[0-9]", "", str(caught.value)).startswith(f"{tmp_path}/pushd.toml: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "within", "beyond"),
    [
        ("system.interval", 0.1, 0.09),
        ("watch.interval", 0.1, 0.09),
        ("watch.settle", 0.01, 0.009),
        ("watch.files", 1, 0),
        ("words.interval", 0.01, 0.009),
        ("words.pause", 0.01, 0.009),
    ],
)
def test_numbers_have_bounds(key, within, beyond):
    kind, _, name = key.partition(".")
    (row,) = (row for row in fields(KINDS[kind]) if row.name == name)
    row.metadata["parse"](within)
    with pytest.raises(ValueError, match="too small"):
        row.metadata["parse"](beyond)


def test_sources_have_no_environment_variable(tmp_path):
    with pytest.raises(ConfigError, match=r"^environment: unknown variable PUSHD_SOURCE_CAM_INTERVAL"):
        load(None, {"PUSHD_SOURCE_CAM_INTERVAL": "1"}, {})


@pytest.mark.parametrize(
    "source",
    [
        SystemSource(name="x"),
        CommandSource(name="x", channel="ch", run=("true",)),
        WatchSource(name="x", channel="ch", folder="/"),
        WatchSource(name="x", channel="ch", folder="/", poll=True),
        WordsSource(name="x", channel="ch"),
    ],
)
def test_service_is_idle_before_its_start(source):
    harness = SourceHarness()
    service = source.service(harness.hub, harness.counters, harness.clock, 1000)
    assert not service.running
    assert not harness.clock.getDelayedCalls()


def test_words_settings_are_applied():
    harness = SourceHarness()
    source = WordsSource(name="x", channel="ch", text="a b c", interval=2.0, pause=5.0)
    service = source.service(harness.hub, harness.counters, harness.clock, 1)
    service.startService()
    counts = []
    for _ in range(12):
        counts.append(len(harness.messages))
        harness.clock.advance(1.0)
    assert counts == [1, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4, 5]
    service.stopService()


def test_message_size_is_limited():
    harness = SourceHarness()
    service = WordsSource(name="x", channel="ch", text="long").service(harness.hub, harness.counters, harness.clock, 3)
    service.startService()
    assert harness.counters.refusals == {"too-large": 1}
    service.stopService()


def test_words_are_not_repeated_if_disabled():
    harness = SourceHarness()
    source = WordsSource(name="x", channel="ch", text="a", repeat=False)
    source.service(harness.hub, harness.counters, harness.clock, 1000).startService()
    assert harness.texts == ["a"]
    assert not harness.clock.getDelayedCalls()


# Documents


def sample() -> str:
    return (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")


def test_sample_file_has_one_commented_source_of_each_kind(tmp_path):
    assert load(ROOT / "etc/pushd.toml", {}, {}).sources == ()
    sources = loaded(tmp_path, re.sub(r"(?m)^#(?! )", "", sample())).sources
    assert [source.kind for source in sources] == list(KINDS)


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=ROW_NAMES)
def test_keys_are_in_the_sample_file(kind, row):
    section = next(part for part in sample().split("\n#[source.") if f'\n#kind = "{kind}"\n' in part)
    assert f"# {row.metadata['description']}\n#{row.name} = " in section
    if row.default is not MISSING:
        held = tomllib.loads("[source." + re.sub(r"(?m)^#(?! )", "", section))
        ((table,),) = (tables.values() for tables in held.values())
        assert table[row.name] == row.metadata["default"]


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=ROW_NAMES)
def test_keys_are_documented(kind, row):

    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = manual.partition(f"\n### The kind `{kind}`\n")[2].partition("\n### ")[0]
    default = "must be given" if row.default is MISSING else f"`{json.dumps(row.metadata['default'])}`"
    assert f"| `{row.name}` | {default} | {row.metadata['unit']} | {row.metadata['description']} |\n" in section


@pytest.mark.parametrize("kind", KINDS)
def test_only_keys_are_documented(kind):
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = manual.partition(f"\n### The kind `{kind}`\n")[2].partition("\n### ")[0]
    assert re.findall(r"(?m)^\| `([a-z_]+)` \|", section) == [row.name for of, row in ROWS if of == kind]

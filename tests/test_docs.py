"""The documents say what is there: every refusal, command, door and metric, and README's commands as they are."""

import json
import re
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from pushd.backends.interface import DiskUsage, Usage
from pushd.config.loader import load
from pushd.core import errors
from pushd.metrics import Counters, DeliveryMetrics, render
from pushd.service.daemon import make_service
from pushd.wire import line_commands, websocket_commands

ROOT = Path(__file__).parent.parent
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFUSALS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.Refusal) and kind is not errors.Refusal
]
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| ?([0-9]*) ?\| ?([0-9]*) ?\|", re.MULTILINE)


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.code)
def test_every_refusal_has_a_row_with_its_status_and_close_code(kind):
    rows = {code: (status, close) for code, status, close in ROW.findall(PROTOCOL)}
    status, close = rows[kind.code]
    assert status in ("", str(kind.status))
    assert close in ("", str(kind.close))


def test_no_refusal_is_documented_that_is_not_there():
    assert {code for code, *_ in ROW.findall(PROTOCOL)} == {kind.code for kind in REFUSALS}


@pytest.mark.parametrize("verb", sorted(line_commands._PARSERS))
def test_every_verb_of_a_line_connection_is_documented(verb):
    assert re.search(rf"\| `{verb.decode()}[ `]", PROTOCOL)


@pytest.mark.parametrize("verb", websocket_commands._VERBS)
def test_every_command_of_a_websocket_is_documented(verb):
    assert f'`{{"{verb}":' in PROTOCOL


def test_every_door_is_documented():
    daemon = make_service(load(None, {}, {}), Clock())
    doors = daemon._root.listNames()
    assert {b"", b"pub", b"sse", b"ws", b"metrics"} <= set(doors)
    assert [door for door in doors if f"/{door.decode()}" not in PROTOCOL] == []


EXPOSITION = render(Counters(), Usage(0, 0, 0, DiskUsage(0, 0, 0, 0), 0), DeliveryMetrics()).decode()
METRICS = set(re.findall(r"^# TYPE (\w+)", EXPOSITION, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_documented(name):
    assert re.search(rf"`{name}[`{{]", OPERATIONS)


def test_no_metric_is_documented_that_is_not_there():
    assert set(re.findall(r"`((?:pushd|process)_\w+)", OPERATIONS)) == METRICS


@pytest.mark.parametrize("name", ["grafana-pushd.json", "prometheus-alerts.yml"])
def test_boards_and_alarms_name_series_that_are_there(name):
    named = re.findall(r"\b(?:pushd|process)_\w+", (ROOT / "etc" / name).read_text(encoding="utf-8"))
    assert named
    assert {re.sub("_bucket$", "", each) for each in named} <= METRICS


def test_every_alarm_is_documented_and_the_board_is_json():
    alarms = re.findall(r"alert: (\w+)", (ROOT / "etc/prometheus-alerts.yml").read_text(encoding="utf-8"))
    assert re.findall(r"^\| `(Pushd\w+)`", OPERATIONS, re.MULTILINE) == alarms
    assert json.loads((ROOT / "etc/grafana-pushd.json").read_text(encoding="utf-8"))["panels"]


def test_the_board_shows_all_that_an_operator_watches():
    board = (ROOT / "etc/grafana-pushd.json").read_text(encoding="utf-8")
    unwatched = {"process_virtual_memory_bytes", "process_start_time_seconds", "pushd_sent_total"}
    assert {name for name in METRICS if name not in board} == unwatched


def test_every_file_that_is_linked_to_is_there():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_readme_opens_with_the_two_commands_that_make_knows():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)
    assert commands[:2] == ["run", "test"]
    assert set(commands) <= set(targets)

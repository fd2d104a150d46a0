"""The documents list every refusal, command, address and metric, and the commands of the README exist."""

import json
import re
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from pushd.backends.interface import DiskUsage, Usage
from pushd.backends.presence import PresenceUsage
from pushd.config.loader import load
from pushd.core import errors
from pushd.http import refusals
from pushd.metrics import Counters, DeliveryMetrics, render
from pushd.service.daemon import make_service
from pushd.wire import line_commands, websocket_commands

ROOT = Path(__file__).parent.parent
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFUSALS = [
    kind
    for kind in (vars(errors) | vars(refusals)).values()
    if isinstance(kind, type) and issubclass(kind, errors.Refusal) and kind.code != errors.Refusal.code
]
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| ?([0-9]*) ?\| ?([0-9]*) ?\|", re.MULTILINE)


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.code)
def test_every_refusal_is_documented_with_its_codes(kind):
    rows = {code: (status, close) for code, status, close in ROW.findall(PROTOCOL)}
    status, close = rows[kind.code]
    assert status in ("", str(kind.status))
    assert close in ("", str(kind.close))


def test_every_documented_refusal_exists():
    assert {code for code, *_ in ROW.findall(PROTOCOL)} == {kind.code for kind in REFUSALS}


@pytest.mark.parametrize("verb", sorted(line_commands._PARSERS))
def test_every_line_command_is_documented(verb):
    assert re.search(rf"\| `{verb.decode()}[ `]", PROTOCOL)


@pytest.mark.parametrize("verb", websocket_commands._VERBS)
def test_every_websocket_command_is_documented(verb):
    assert f'`{{"{verb}":' in PROTOCOL


def test_every_address_is_documented():
    daemon = make_service(load(None, {}, {}), Clock())
    addresses = daemon._root.listNames()
    assert {b"", b"pub", b"sse", b"ws", b"metrics"} <= set(addresses)
    assert [address for address in addresses if f"/{address.decode()}" not in PROTOCOL] == []


MEMBERS = PresenceUsage(0, 0, 0, {"enter": 1})
EXPOSITION = render(Counters(), Usage(0, 0, 0, DiskUsage(0, 0, 0, 0), 0, 0), DeliveryMetrics(presence=MEMBERS)).decode()
METRICS = set(re.findall(r"^# TYPE (\w+)", EXPOSITION, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_documented(name):
    assert re.search(rf"`{name}[`{{]", OPERATIONS)


def test_every_documented_metric_exists():
    assert set(re.findall(r"`((?:pushd|process)_\w+)", OPERATIONS)) == METRICS


@pytest.mark.parametrize("name", ["grafana-pushd.json", "prometheus-alerts.yml"])
def test_metrics_of_dashboard_and_alerts_exist(name):
    named = re.findall(r"\b(?:pushd|process)_\w+", (ROOT / "etc" / name).read_text(encoding="utf-8"))
    assert named
    assert {re.sub("_bucket$", "", each) for each in named} <= METRICS


def test_every_alert_is_documented_and_the_dashboard_is_json():
    alerts = re.findall(r"alert: (\w+)", (ROOT / "etc/prometheus-alerts.yml").read_text(encoding="utf-8"))
    assert re.findall(r"^\| `(Pushd\w+)`", OPERATIONS, re.MULTILINE) == alerts
    assert json.loads((ROOT / "etc/grafana-pushd.json").read_text(encoding="utf-8"))["panels"]


def test_dashboard_shows_every_important_metric():
    dashboard = (ROOT / "etc/grafana-pushd.json").read_text(encoding="utf-8")
    omitted = {"process_virtual_memory_bytes", "process_start_time_seconds", "pushd_sent_total", "pushd_build_info"}
    assert {name for name in METRICS if name not in dashboard} == omitted


def test_linked_files_exist():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_places_to_change_exist():
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## Where to change what")[2]
    paths = set(re.findall(r"(?<![\w/.])((?:[a-z_]+/)+(?:[a-z_]+\.py)?)", table))
    assert {"core/outbox.py", "hub/replay.py", "wire/sse.py", "backends/redis/link.py"} <= paths
    assert [path for path in paths if not (ROOT / "pushd" / path).exists() and not (ROOT / path).exists()] == []


def test_readme_begins_with_make_targets():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)
    assert commands[:2] == ["run", "test"]
    assert set(commands) <= set(targets)

"""The source `system`: contents of a message, and isolation of readings that hang."""

from typing import Any

import psutil
import pytest
from twisted.internet.defer import Deferred, fail, succeed

from pushd.sources import system
from pushd.sources.system import CpuMeter, Gauge, SystemRunner
from tests.sources.source_harness import LogCapture, SourceHarness, call_now


def run(harness: SourceHarness, disks: tuple[str, ...] = ("/",), run_in_thread: Any = call_now) -> Deferred[None]:
    source = SystemRunner(harness.publisher, harness.clock, 1.0, disks, lambda: 1234.5678, run_in_thread)
    return Deferred.fromCoroutine(source.run()).addErrback(lambda _: None)


def test_figures_are_published_at_each_interval_as_json():
    harness = SourceHarness()
    running = run(harness)
    assert harness.messages == []
    harness.clock.pump([1.0] * 3)
    assert len(harness.messages) == 3
    assert {message.content_type for message in harness.messages} == {"application/json"}
    found = harness.objects[-1]
    assert list(found) == ["time", "cpu", "memory", "load", "temperature", "disk"]
    assert found["time"] == 1234.568
    assert 0 <= found["cpu"]["percent"] <= 100
    assert found["cpu"]["count"] == psutil.cpu_count()
    assert 0 < found["memory"]["used"] < found["memory"]["total"] == psutil.virtual_memory().total
    assert len(found["load"]) == 3
    assert found["disk"]["/"]["total"] == psutil.disk_usage("/").total
    running.cancel()
    assert not harness.clock.getDelayedCalls()


def seconds(**passed: float) -> Any:
    """Return the CPU times of a system, 50 s each plus the given ones."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    return psutil.cpu_times()._replace(**{name: 50.0 + passed.get(name, 0.0) for name in names})


@pytest.mark.parametrize(
    ("passed", "percent"),
    [
        ({"user": 1, "idle": 3}, 25.0),
        ({"system": 1, "iowait": 1, "idle": 1, "steal": 1}, 50.0),
        ({"user": 1, "guest": 1, "idle": 1}, 50.0),
        ({"user": 1, "nice": 1, "guest_nice": 1, "idle": 2}, 50.0),
        ({"idle": 2}, 0.0),
        ({}, 0.0),
        ({"user": 1, "idle": -2}, 0.0),
    ],
)
@pytest.mark.skipif(not psutil.LINUX, reason="other systems have other CPU times")
def test_cpu_is_busy_when_neither_idle_nor_waiting(monkeypatch, passed, percent):
    times = [seconds(), seconds(**passed)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: times.pop(0))
    assert CpuMeter().figures()["percent"] == percent


def test_cpu_usage_is_relative_to_the_previous_call(monkeypatch):
    times = [seconds(), seconds(user=1, idle=1), seconds(user=2, idle=1)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: times.pop(0))
    meter = CpuMeter()
    assert [meter.figures()["percent"] for _ in range(2)] == [50.0, 100.0]


def test_sensor_reports_its_highest_temperature(monkeypatch):
    place = type("Place", (), {})
    cold, hot = place(), place()
    cold.current, hot.current = 40.0, 51.26
    found = {"coretemp": [cold, hot], "empty": []}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found, raising=False)
    assert system.read_temperatures() == {"coretemp": 51.3}


def test_machine_without_sensors_has_no_temperatures(monkeypatch):
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert system.read_temperatures() == {}


def test_missing_disk_is_null_and_logged_once():
    harness = SourceHarness()
    with LogCapture() as log:
        running = run(harness, ("/", "/not/there"))
        harness.clock.pump([1.0] * 3)
    found = harness.objects[-1]["disk"]
    assert found["/not/there"] is None
    assert found["/"]["total"] > 0
    assert len(log.lines) == 1
    assert log.lines[0].startswith("source x: disk /not/there cannot be read: null until it can (")
    running.cancel()


def test_hanging_disk_is_null_and_read_again_only_after_it_answered():
    harness, asked = SourceHarness(), []

    def run_in_thread(call: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        asked.append((call, answer))
        return answer

    def answer() -> None:
        for call, waiting in asked:
            if not waiting.called:
                waiting.callback(call())

    with LogCapture() as log:
        running = run(harness, ("/",), run_in_thread)
        harness.clock.advance(1.0)
        assert len(asked) == 2
        harness.clock.advance(0.5)
        assert harness.objects[-1]["disk"] == {"/": None}
        assert harness.objects[-1]["temperature"] is None
        harness.clock.advance(0.5)
        assert len(harness.messages) == 2
        assert len(asked) == 2
        answer()
        harness.clock.advance(1.0)
        assert len(asked) == 4
        answer()
        assert harness.objects[-1]["disk"]["/"]["total"] > 0
    assert log.lines == [
        "source x: temperatures timed out: null until it can be read",
        "source x: disk / timed out: null until it can be read",
    ]
    harness.clock.advance(1.0)
    running.cancel()
    assert not harness.clock.getDelayedCalls()


def read(gauge: Gauge[int]) -> Any:
    return Deferred.fromCoroutine(gauge.read())


def test_problem_is_logged_again_after_a_success():
    answers = [fail(OSError("gone")), fail(OSError("gone")), succeed(1), fail(OSError("gone"))]
    gauge: Gauge[int] = Gauge("source x", "disk /", int, SourceHarness().clock, lambda _: answers.pop(0))
    with LogCapture() as log:
        assert [read(gauge).result for _ in range(4)] == [None, None, 1, None]
    assert log.lines == ["source x: disk / cannot be read: null until it can (gone)"] * 2


def test_reading_is_retried_after_a_failed_thread_start():
    def no_thread(_: object) -> Any:
        raise RuntimeError("can't start new thread")

    gauge: Gauge[int] = Gauge("source x", "disk /", int, SourceHarness().clock, no_thread)
    assert read(gauge).result is None
    gauge._run_in_thread = lambda _: succeed(1)
    assert read(gauge).result == 1

"""The log: text and JSON lines have the same complete content, and no field can forge a line."""

import io
import json
import logging
from datetime import datetime

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher as LegacyLogPublisher

from pushd.logs import Threshold, json_line, log_observer, text_line

MOMENT = 1763751574.123


def logged(form: str, level: str = "debug", *levels: str) -> tuple[Logger, io.StringIO]:
    out = io.StringIO()
    return Logger("pushd.hub", observer=log_observer(out, form, Threshold(level, levels))), out


def objects(out: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def event(**fields: object) -> dict[str, object]:
    return {
        "log_time": MOMENT,
        "log_level": LogLevel.info,
        "log_namespace": "pushd.hub",
        "log_format": "{who} came",
        "who": "ann",
        **fields,
    }


def test_text_line_has_time_level_and_message():
    line = text_line(event())
    time, place, sentence = line.split(" ", 2)
    assert datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").timestamp() == int(MOMENT)
    assert (place, sentence) == ("[info]", "ann came\n")


@pytest.mark.parametrize("level", ["debug", "warn", "error", "critical"])
def test_text_line_of_another_level_names_the_logger(level):
    line = text_line(event(log_level=LogLevel.levelWithName(level)))
    assert line.endswith(f" [{level} pushd.hub] ann came\n")


def test_json_line_has_the_same_and_the_fields():
    line = json_line(event(peers=3, share=0.5, warm=True))
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "time": "2025-11-21T18:59:34.123Z",
        "level": "info",
        "namespace": "pushd.hub",
        "message": "ann came",
        "who": "ann",
        "peers": 3,
        "share": 0.5,
        "warm": True,
    }


def test_fields_that_are_not_plain_are_left_out():
    record = json.loads(json_line(event(body=b"secret", message={"data": 1}, peers=[1], peer=object(), none=None)))
    assert set(record) == {"time", "level", "namespace", "message", "who"}


@pytest.mark.parametrize("name", ["time", "level", "namespace", "message"])
def test_field_does_not_replace_a_reserved_key(name):
    assert json.loads(json_line(event(**{name: "forged"})))[name] == json.loads(json_line(event()))[name]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_non_finite_number_is_left_out(number):
    assert "rate" not in json.loads(json_line(event(rate=number)), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warn", "error", "critical"]),
        ("info", ["info", "warn", "error", "critical"]),
        ("warn", ["warn", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_events_below_the_level_are_not_written(level, expected):
    log, out = logged("json", level)
    for constant in LogLevel.iterconstants():
        log.emit(constant, "something")
    assert [record["level"] for record in objects(out)] == expected


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), ["warn"]),
        (("pushd.hub=info",), ["info", "warn"]),
        (("pushd=info",), ["info", "warn"]),
        (("pushd=error", "pushd.hub=info"), ["info", "warn"]),
        (("pushd=error",), []),
        (("pushd.hu=info", "pushd.hub.inner=info", "twisted=info"), ["warn"]),
    ],
)
def test_namespace_level_applies_to_all_namespaces_below(levels, expected):
    log, out = logged("json", "warn", *levels)
    log.info("something")
    log.warn("something")
    assert [record["level"] for record in objects(out)] == expected


SECRETS = [
    "GET /sse/a?access_token=s3cret",
    "GET /sse/a?since=all&token=s3cret&slow=drop",
    "/sse/a%3Ftoken%3Ds3cret",
    "Authorization: Bearer s3cret",
    "authorization: s3cret",
    "{b'authorization': b'Basic s3cret', b'host': b'x'}",
    '{"token": "s3cret"}',
    "a Bearer s3cret came",
    "redis://somebody:s3cret@localhost/0 is away",
    "rediss://:s3cret@localhost",
    "password=s3cret",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("line", [text_line, json_line])
def test_secrets_are_redacted_in_messages_fields_and_failures(line, secret):
    failed = event(log_failure=Failure(RuntimeError(secret)))
    for shown in (line(event(who=secret)), line(failed), line(event(log_format="{why}", why=secret))):
        assert "s3cret" not in shown
        assert "***" in shown


@pytest.mark.parametrize("harmless", ["too many tokens, 5", "http://localhost/a@b", "mail me@example.org", "tokens"])
def test_harmless_text_is_unchanged(harmless):
    assert text_line(event(who=harmless)).endswith(f"{harmless} came\n")


def fail_deep() -> None:
    raise RuntimeError("deep trouble")


@pytest.mark.parametrize("form", ["text", "json"])
def test_traceback_is_written_in_full(form):
    log, out = logged(form)
    try:
        fail_deep()
    except RuntimeError:
        log.failure("while serving {who}", who="ann")
    text = out.getvalue() if form == "text" else "{message}\n{traceback}".format(**objects(out)[0])
    for part in (
        "while serving ann",
        "Traceback (most recent call last)",
        "in fail_deep",
        "RuntimeError: deep trouble",
    ):
        assert part in text


def test_failure_without_message_is_written():
    log, out = logged("json")
    try:
        fail_deep()
    except RuntimeError:
        log.failure("")
    assert "deep trouble" in objects(out)[0]["traceback"]


@pytest.mark.parametrize("line", [text_line, json_line])
def test_event_without_text_is_not_written(line):
    assert line({"log_time": MOMENT, "log_level": LogLevel.info, "log_namespace": "x"}) == ""


def test_control_characters_are_escaped():
    assert text_line(event(who="\x1b[2J\r\x9b")).endswith("] \\x1b[2J\\x0d\\x9b came\n")


@pytest.mark.parametrize("line", [text_line, json_line])
def test_field_cannot_forge_a_line(line):
    _, *rest = line(event(who="ann\n2026-01-01T00:00:00+0000 [forged] x")).splitlines()
    assert all(more.startswith("\t") for more in rest)


def legacy_log(level: str) -> tuple[LegacyLogPublisher, io.StringIO]:
    out = io.StringIO()
    publisher = LogPublisher(log_observer(out, "json", Threshold(level)))
    return LegacyLogPublisher(publisher, publisher), out


def test_legacy_twisted_log_is_written_at_the_level_debug():
    log, out = legacy_log("debug")
    log.msg("starting", system="Port", token="secret")
    (record,) = objects(out)
    assert {name: record[name] for name in record if name != "time"} == {
        "level": "info",
        "system": "Port",
        "message": "starting",
    }


def test_notices_of_the_legacy_log_are_not_written_but_its_failures_are():
    log, out = legacy_log("info")
    log.msg("starting", system="Port")
    log.msg("failed", system="Port", logLevel=logging.ERROR)
    assert [record["message"] for record in objects(out)] == ["failed"]


def test_threshold_can_be_changed():
    out, threshold = io.StringIO(), Threshold("info")
    log = Logger("pushd.hub", observer=log_observer(out, "json", threshold))
    for level in ("error", "debug"):
        threshold.reconfigure(level)
        log.info("under {threshold}", threshold=level)
    assert [each["message"] for each in objects(out)] == ["under debug"]


def test_changed_threshold_drops_old_namespaces():
    threshold = Threshold("info", ["pushd=error"])
    threshold.reconfigure("info", ["twisted=error"])
    out = io.StringIO()
    observer = log_observer(out, "json", threshold)
    for name in ("pushd.hub", "twisted.web"):
        Logger(name, observer=observer).info("from {name}", name=name)
    assert [each["message"] for each in objects(out)] == ["from pushd.hub"]

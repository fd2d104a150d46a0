"""Formats of the log: text lines, or one flat JSON object per line."""

import json
import math
import re
from collections.abc import Container, Iterable
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    formatTime,
)

from pushd.core.timestamp import utc_text

# Control characters that a terminal would interpret. LF and tab are kept: continuation lines are indented.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


_NOTICES = "log_legacy=warn", "twisted.scripts._twistd_unix=warn"
"""The levels of the notices of Twisted that a port was opened or closed, and that twistd starts or has ended."""

_SECRETS = (
    # Authorization: Bearer x, as a header or a log field
    re.compile(r"(authorization[\"']?\s*(?:[:=]|%3d)\s*b?[\"']?)(?:\w+\s+)?[^\s\"',]+", re.IGNORECASE),
    re.compile(r"(\bbearer\s+)[^\s\"',]+", re.IGNORECASE),
    # token=x, access_token=x, "password": "x"
    re.compile(r"((?:token|password|secret)[\"']?\s*(?:[:=]|%3d)\s*b?[\"']?)[^\s\"'&;,/]+", re.IGNORECASE),
    # redis://user:password@host
    re.compile(r"(://)[^/\s\"']*(?=@)"),
)


class Threshold(LogLevelFilterPredicate):
    """A filter that passes events of a minimum level and above.

    :param level: "debug", "info", "warn", "error" or "critical".
    :param levels: other minimum levels for a namespace and all below it, as ``NAMESPACE=LEVEL``.
    """

    def __init__(self, level: str, levels: Iterable[str] = ()) -> None:
        super().__init__()
        self.reconfigure(level, levels)

    def reconfigure(self, level: str, levels: Iterable[str] = ()) -> None:
        """Replace the minimum levels. Notices of Twisted that repeat those of pushd need the level "debug"."""
        self.clearLogLevels()
        notices = () if level == "debug" else _NOTICES
        for namespace, _, minimum in (each.partition("=") for each in (f"={level}", *notices, *levels)):
            self.setLogLevelForNamespace(namespace, LogLevel.levelWithName(minimum))


def log_observer(out: IO[Any], form: str, threshold: Threshold) -> ILogObserver:
    """Return a log observer for twistd.

    :param out: the stream to which events that pass the threshold are written.
    :param form: "text" or "json".
    """
    format_event = {"text": text_line, "json": json_line}[form]
    return FilteringLogObserver(FileLogObserver(out, format_event), [threshold])


def redact(text: str) -> str:
    """Replace what looks like a secret with ``***``.

    pushd logs no secrets itself, but the text of an exception or a request path may contain one.
    """
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


def text_line(event: LogEvent) -> str:
    """Return an event as a line with time, level and message, and an indented traceback; empty if it has no text.

    The name of the logger is left out of the level "info", whose lines describe normal operation.
    """
    text = redact(eventAsText(event, includeTimestamp=False, includeSystem=False))
    if not text:
        return ""
    level = event["log_level"].name
    place = level if level == "info" else f"{level} {event.get('log_namespace', '-')}"
    line = f"{formatTime(event['log_time'])} [{place}] " + text.replace("\n", "\n\t") + "\n"
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line)


def json_line(event: LogEvent) -> str:
    """Return an event as one JSON object, with a line end; empty if the event has no text.

    It has the time, level, system or namespace, message, traceback, and those fields of the event that are strings,
    finite numbers or booleans. Fields that Twisted adds (``log_*``) are left out.
    """
    message = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None and not message:
        return ""
    source_key = "system" if "log_system" in event else "namespace"
    record = {
        "time": utc_text(event["log_time"]),
        "level": event["log_level"].name,
        source_key: str(event.get(f"log_{source_key}", "-")),
        "message": redact(message),
    }
    if failure is not None:
        record["traceback"] = redact(failure.getTraceback())
    return json.dumps(record | _plain_fields(event, record)) + "\n"


def _plain_fields(event: LogEvent, reserved: Container[str]) -> dict[str, Any]:
    if event.get("log_namespace") == "log_legacy":  # from twisted.python.log: the message repeats all fields
        return {}
    return {
        name: redact(value) if isinstance(value, str) else value
        for name, value in event.items()
        if not name.startswith("log_") and name not in reserved and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    # JSON has no infinity and no NaN (RFC 8259, section 6).
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))

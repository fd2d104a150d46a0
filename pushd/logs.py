"""How the log looks: lines for people, or one flat JSON object a line for programs."""

import json
import math
import re
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)

# What a terminal would obey; a line end or a tab is harmless, for the lines that follow are indented.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


_SECRETS = (
    # Authorization: Bearer x, as a header or a field
    re.compile(r"(authorization[\"']?\s*(?:[:=]|%3d)\s*b?[\"']?)(?:\w+\s+)?[^\s\"',]+", re.IGNORECASE),
    re.compile(r"(\bbearer\s+)[^\s\"',]+", re.IGNORECASE),
    # token=x, access_token=x, "password": "x"
    re.compile(r"((?:token|password|secret)[\"']?\s*(?:[:=]|%3d)\s*b?[\"']?)[^\s\"'&;,/]+", re.IGNORECASE),
    # redis://user:password@host
    re.compile(r"(://)[^/\s\"']*(?=@)"),
)


class Threshold(LogLevelFilterPredicate):
    """Which events are important enough: those of `level` ("debug" … "critical") and above.

    :param levels: those of some names, and of all below them, as ``NAME=LEVEL``.
    """

    def __init__(self, level: str, levels: Iterable[str] = ()) -> None:
        super().__init__(defaultLogLevel=LogLevel.levelWithName(level))
        self.move(level, levels)

    def move(self, level: str, levels: Iterable[str] = ()) -> None:
        """Let more or fewer pass from now on."""
        self.clearLogLevels()
        for name, _, other in (each.partition("=") for each in (f"={level}", *levels)):
            self.setLogLevelForNamespace(name, LogLevel.levelWithName(other))


def log_observer(out: IO[Any], form: str, threshold: Threshold) -> ILogObserver:
    """Make an observer for twistd that writes to `out` what passes the threshold.

    `form` is "text" or "json".
    """
    line = {"text": text_line, "json": json_line}[form]
    return FilteringLogObserver(FileLogObserver(out, line), [threshold])


def conceal(text: str) -> str:
    """Take out what looks like a secret. Nothing logs one on purpose; but an exception or a path may hold anything."""
    for secret in _SECRETS:
        text = secret.sub(r"\1***", text)
    return text


def text_line(event: LogEvent) -> str:
    """An event as twistd writes it, a traceback indented below; empty where there is nothing to say."""
    text = conceal(formatEventAsClassicLogText(event) or "")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def json_line(event: LogEvent) -> str:
    """An event as one JSON object: time, level, system or namespace, message, traceback, plain fields.

    Fields that are not text, a number or a truth value are left out, and so is what Twisted adds for itself.
    Empty where there is nothing to say.
    """
    message = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None and not message:
        return ""
    source = "system" if "log_system" in event else "namespace"
    record = {
        "time": _time(event["log_time"]),
        "level": event["log_level"].name,
        source: str(event.get(f"log_{source}", "-")),
        "message": conceal(message),
    }
    if failure is not None:
        record["traceback"] = conceal(failure.getTraceback())
    return json.dumps(record | _plain_fields(event, record)) + "\n"


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _plain_fields(event: LogEvent, taken: Container[str]) -> dict[str, Any]:
    if event.get("log_namespace") == "log_legacy":  # twisted.python.log: the text says it all
        return {}
    return {
        name: conceal(value) if isinstance(value, str) else value
        for name, value in event.items()
        if not name.startswith("log_") and name not in taken and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    # JSON has no word for the infinite.
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))

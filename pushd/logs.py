"""How the log looks: lines for people, or one flat JSON object a line for programs."""

import json
import math
import re
from collections.abc import Container
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


class Threshold(LogLevelFilterPredicate):
    """Which events are important enough: those of `level` ("debug" … "critical") and above."""

    def __init__(self, level: str) -> None:
        super().__init__(defaultLogLevel=LogLevel.levelWithName(level))

    def move(self, level: str) -> None:
        """Let more or fewer pass from now on."""
        self.setLogLevelForNamespace("", LogLevel.levelWithName(level))


def log_observer(out: IO[Any], form: str, threshold: Threshold) -> ILogObserver:
    """Make an observer for twistd that writes to `out` what passes the threshold.

    `form` is "text" or "json".
    """
    line = {"text": text_line, "json": json_line}[form]
    return FilteringLogObserver(FileLogObserver(out, line), [threshold])


def text_line(event: LogEvent) -> str:
    """An event as twistd writes it, a traceback indented below; empty where there is nothing to say."""
    text = formatEventAsClassicLogText(event) or ""
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
        "message": message,
    }
    if failure is not None:
        record["traceback"] = failure.getTraceback()
    return json.dumps(record | _plain_fields(event, record)) + "\n"


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _plain_fields(event: LogEvent, taken: Container[str]) -> dict[str, Any]:
    if event.get("log_namespace") == "log_legacy":  # twisted.python.log: the text says it all
        return {}
    return {
        name: value
        for name, value in event.items()
        if not name.startswith("log_") and name not in taken and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    # JSON has no word for the infinite.
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))

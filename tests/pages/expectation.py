"""Printed output as a pattern: what differs from run to run may differ, everything else may not."""

import re
from typing import Final

_VARIABLE: Final = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d{4}": r"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d[+]\\d{4}",
    r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d UTC \d{4}": r"\\w{3} \\w{3} \\d\\d \\d\\d:\\d\\d:\\d\\d UTC \\d{4}",
    r"\bpushd_[\w-]{43}": r"pushd_[\\w-]{43}",
    r"\b[0-9a-f]{64}\b": "[0-9a-f]{64}",
    r"\b[0-9a-f]{32}\b": "[0-9a-f]{32}",
    r"\b[0-9A-Za-z]{8}-(?=\d+\b)": "[0-9A-Za-z]{8}-",
    r"\b1[78]\d{8}(?:\.\d+)?\b": r"\\d{10}(?:\\.\\d+)?",
    r"(?<=pid )\d+": r"\\d+",
    r"\d+(?= messages in| channels, | bytes\))": r"\\d+",
    r"[0-9]+(?:[.,][0-9]+)?(?= ms\b)": r"[0-9]+(?:[.,][0-9]+)?",
    r"[\w-]*…|\.\.\.": ".*",
}
"""Patterns of printed text, and what they stand for: times, tokens, hashes, ids, counts, and what is left out."""
_ANY: Final = re.compile("|".join(f"({pattern})" for pattern in _VARIABLE))
_STANDS_FOR: Final = [pattern.replace("\\\\", "\\") for pattern in _VARIABLE.values()]


def pattern(printed: str) -> str:
    """Return the regular expression of what a page prints."""
    found, position = "", 0
    for match in _ANY.finditer(printed):
        assert match.lastindex is not None
        found += re.escape(printed[position : match.start()]) + _STANDS_FOR[match.lastindex - 1]
        position = match.end()
    return found + re.escape(printed[position:])


def is_as_printed(output: str, printed: str) -> bool:
    """Return whether the output of a command is the one that the page prints below it."""
    return re.fullmatch(pattern(printed.strip()), output.strip().replace("\r\n", "\n")) is not None

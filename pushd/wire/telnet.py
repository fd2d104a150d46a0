"""Telnet commands in the input of a line connection (RFC 854, RFC 855).

Telnet clients send them when the user interrupts, and some of them to negotiate options. They begin with the byte 255,
which does not occur in UTF-8. Every option is refused, so that the client continues to send lines.
"""

import re
from typing import Final, NamedTuple

IAC: Final = b"\xff"
"""The first byte of a command: interpret as command."""
_WILL, _WONT, _DO, _DONT = b"\xfb", b"\xfc", b"\xfd", b"\xfe"
_REFUSAL: Final = {_DO: _WONT, _WILL: _DONT}
_COMMAND: Final = re.compile(
    rb"\xff(?:"
    rb"(?P<data>\xff)"  # the byte 255 itself
    rb"|(?P<verb>[\xfb-\xfe])(?P<option>.)"
    rb"|\xfa(?:[^\xff]|\xff\xff){0,64}\xff\xf0"  # the parameters of an option; longer ones are not accepted
    rb"|[\xec-\xf9]"  # commands without an option, such as interrupt process
    rb"|(?P<incomplete>(?:[\xfb-\xfe]|\xfa(?:[^\xff]|\xff\xff){0,64}\xff?)?\Z)"
    rb")",
    re.DOTALL,
)


class TelnetInput(NamedTuple):
    """Input without its telnet commands."""

    text: bytes
    answers: bytes
    """The commands that refuse the options."""
    rest: bytes
    """An incomplete command at the end, of at most 132 bytes."""


def extract_commands(data: bytes) -> TelnetInput:
    """Remove telnet commands from input. Bytes 255 that begin no command stay in the text."""
    answers: list[bytes] = []
    rest = b""

    def remove(found: re.Match[bytes]) -> bytes:
        nonlocal rest
        if found["data"]:
            return found[0]
        if found["incomplete"] is not None:
            rest = found[0]
        elif answer := _REFUSAL.get(found["verb"]):
            answers.append(IAC + answer + found["option"])
        return b""

    text = _COMMAND.sub(remove, data)
    return TelnetInput(text, b"".join(answers), rest)

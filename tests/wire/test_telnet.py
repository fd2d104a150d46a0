"""Telnet commands are taken out of the input, and every option is refused."""

import pytest

from pushd.wire.telnet import extract_commands

INTERRUPT = b"\xff\xf4\xff\xfd\x06"
"""What telnet sends for Ctrl-C: interrupt process, and DO timing-mark."""
PUTTY = bytes.fromhex("fffb1f fffb20 fffb18 fffb27 fffd01 fffb03 fffd03")
"""What PuTTY sends at the start of an active negotiation."""
TERMINAL_TYPE = b"\xff\xfa\x18\x00xterm\xff\xf0"

CASES = [
    (b"PING\r\n", b"PING\r\n", b""),
    (INTERRUPT + b"PING\r\n", b"PING\r\n", b"\xff\xfc\x06"),
    (b"PI" + INTERRUPT + b"NG\r\n", b"PING\r\n", b"\xff\xfc\x06"),
    (PUTTY, b"", bytes.fromhex("fffe1f fffe20 fffe18 fffe27 fffc01 fffe03 fffc03")),
    (b"\xff\xfe\x01\xff\xfc\x03x", b"x", b""),
    (b"a" + TERMINAL_TYPE + b"b", b"ab", b""),
    (b"\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0b", b"b", b""),
    (b"\xff\xfd\x0aPING\n", b"PING\n", b"\xff\xfc\x0a"),
    *((b"a\xff%cb" % code, b"ab", b"") for code in (0xEC, 0xF1, 0xF6, 0xF9)),
    # No telnet commands: these stay, and are refused since they are not UTF-8.
    (b"a\xff\nb", b"a\xff\nb", b""),
    (b"a\xff\xff\xfd\x01b", b"a\xff\xff\xfd\x01b", b""),
    (b"a\xff\x80b", b"a\xff\x80b", b""),
    (b"\xff\xfa" + b"x" * 200 + b"\xff\xf0", b"\xff\xfa" + b"x" * 200, b""),
]


@pytest.mark.parametrize(("data", "text", "answers"), CASES)
def test_commands_are_removed_and_options_refused(data, text, answers):
    assert extract_commands(data) == (text, answers, b"")


@pytest.mark.parametrize(("data", "text", "answers"), CASES[:-4])
def test_commands_may_be_received_in_pieces(data, text, answers):
    for size in range(1, len(data) + 1):
        received = sent = rest = b""
        for start in range(0, len(data), size):
            piece, answer, rest = extract_commands(rest + data[start : start + size])
            received += piece
            sent += answer
        assert (received, sent, rest) == (text, answers, b"")


@pytest.mark.parametrize("rest", [b"\xff", b"\xff\xfd", b"\xff\xfa", b"\xff\xfa" + b"x" * 64, b"\xff\xfa\x18\xff"])
def test_incomplete_command_is_returned(rest):
    assert extract_commands(b"PING" + rest) == (b"PING", b"", rest)


def test_incomplete_command_is_bounded():
    rest = b""
    for byte in b"\xff\xfa" + b"\xff" * 1000:
        _, _, rest = extract_commands(rest + bytes((byte,)))
        assert len(rest) <= 132

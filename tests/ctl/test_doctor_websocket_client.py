"""The WebSocket client of the doctor: frames of RFC 6455 and pongs."""

import io

import pytest

from pushd.ctl.doctor.websocket_client import WebSocketClosed, is_accepted, receive_payloads


def read(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the received payloads and the sent bytes."""
    sent: list[bytes] = []
    return list(receive_payloads(io.BytesIO(data).read1, sent.append)), sent


@pytest.mark.parametrize(
    ("frames", "received"),
    [
        (b"", []),
        (b"\x81\x05Hello", [b"Hello"]),
        (b"\x01\x03Hel\x80\x02lo", [b"Hel", b"lo"]),
        (b"\x82\x7e\x01\x00" + bytes(256), [bytes(256)]),
        (b"\x82\x7f" + (1 << 16).to_bytes(8, "big") + bytes(1 << 16), [bytes(1 << 16)]),
        (b"\x81\x05Hello\x81\x05Hel", [b"Hello"]),
        (b"\x81\x05Hello\x81", [b"Hello"]),
        (b"\x81\x7e\x01", []),
        (b"\x8a\x00\x81\x01x", [b"", b"x"]),
    ],
)
def test_complete_frames_are_read(frames: bytes, received: list[bytes]) -> None:
    assert read(frames) == (received, [])


def test_ping_is_answered_by_masked_pong_with_its_payload() -> None:
    received, (pong,) = read(b"\x89\x05Hello")
    assert (received, pong[:2]) == ([b""], b"\x8a\x85")
    assert bytes(byte ^ pong[2 + index % 4] for index, byte in enumerate(pong[6:])) == b"Hello"


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x88\x02\x03\xf4", "closed with 1012"),
        (b"\x88\x00", "closed with 1005"),
        (b"\x82\x7f\x7f" + bytes(7), "closed by pushctl: protocol error"),
    ],
)
def test_close_reason_is_reported(frame: bytes, reason: str) -> None:
    with pytest.raises(WebSocketClosed, match=reason):
        read(frame)


def test_handshake_response_must_match_the_key() -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
    assert is_accepted("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", key)
    assert not is_accepted("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", key.swapcase())

"""A receive-only WebSocket client (RFC 6455) over a connection of the standard library."""

from collections.abc import Callable, Iterator

_BLOCK = 1 << 16
_MAX_BYTES = 1 << 20
"""Maximum message size, far above that of the messages of a probe run."""


class WebSocketClosed(Exception):
    """The WebSocket was closed; the text says why."""


def build_handshake(key: str) -> dict[str, str]:
    """Return the headers of the opening handshake (section 4.1)."""
    return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}


def new_key() -> str:
    """Return a random ``Sec-WebSocket-Key``."""
    from websockets.utils import generate_key  # imported lazily: it takes long

    return generate_key()


def is_accepted(accept: str, key: str) -> bool:
    """Return whether the value of ``Sec-WebSocket-Accept`` matches the key of the handshake (section 4.1)."""
    from websockets.utils import accept_key

    return accept == accept_key(key)


def receive_payloads(read: Callable[[int], bytes], send: Callable[[bytes], object]) -> Iterator[bytes]:
    """Yield the payload of each data frame, and an empty payload for each control frame; respond to pings.

    :param read: returns up to this many bytes that have arrived; empty at the end of the stream.
    :param send: sends bytes.
    :raises WebSocketClosed: when the peer closes the WebSocket or violates the protocol.
    """
    from websockets.frames import Frame
    from websockets.protocol import Protocol, Side, State

    peer = Protocol(Side.CLIENT, state=State.OPEN, max_size=_MAX_BYTES)
    while data := read(_BLOCK):
        peer.receive_data(data)
        for piece in filter(None, peer.data_to_send()):
            send(piece)
        for frame in peer.events_received():
            if isinstance(frame, Frame) and frame.opcode < frame.opcode.CLOSE:
                yield bytes(frame.data)
            else:
                yield b""
        if peer.state is not State.OPEN:
            if peer.close_rcvd is not None:
                raise WebSocketClosed(f"closed with {peer.close_rcvd.code:d}")
            raise WebSocketClosed(f"closed by pushctl: protocol error: {peer.parser_exc}")

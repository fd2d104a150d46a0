"""A WebSocket that only listens (RFC 6455), over a connection of the standard library."""

from collections.abc import Callable, Iterator

_BLOCK = 1 << 16
_MAX_BYTES = 1 << 20
"""Of a message: far more than what is listened for."""


class WebSocketClosed(Exception):
    """One side closes; the text says with which code."""


def handshake(key: str) -> dict[str, str]:
    """Give the headers that ask for a WebSocket."""
    return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}


def new_key() -> str:
    """Make a key for a handshake."""
    from websockets.utils import generate_key  # read only by those who need it, as in pushd.ctl.api_client

    return generate_key()


def is_accepted(accept: str, key: str) -> bool:
    """Tell whether the value of ``Sec-WebSocket-Accept`` is an answer to this handshake (section 4.1)."""
    from websockets.utils import accept_key

    return accept == accept_key(key)


def receive_payloads(read: Callable[[int], bytes], send: Callable[[bytes], object]) -> Iterator[bytes]:
    """Give the data of each frame; answer pings, for which nothing is given but an empty payload.

    :param read: gives what has come, so many bytes at most; none at the end.
    :raises Closed: one side closes: the other one, or this one, for what is no WebSocket.
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
            raise WebSocketClosed(f"closed here, since what comes is no WebSocket: {peer.parser_exc}")

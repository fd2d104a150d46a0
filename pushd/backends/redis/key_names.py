"""The names of pub/sub: which channel of Redis carries what, and which pattern of Redis covers a pattern of ours."""

from typing import Final

from pushd.core.names import is_pattern

ALL: Final = b"all"
"""What concerns every node."""
_SPECIAL = {ord(sign): f"\\{sign}" for sign in "[]?*^-\\"}


def of_node(node: str) -> bytes:
    """Name the channel that one node listens to."""
    return b"n:" + node.encode()


def of_topic(prefix: str, topic: str) -> bytes:
    """Name what carries the messages of a topic. Redis lets `*` stand for `/` too: what is too much is passed over."""
    if not is_pattern(topic):
        return f"{prefix}f:{topic}".encode()
    segments = topic.split("/")
    wild = "/".join(["*" if segment in ("*", "**") else segment.translate(_SPECIAL) for segment in segments])
    return f"{prefix.translate(_SPECIAL)}f:{wild}".encode()

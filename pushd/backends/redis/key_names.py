"""The names of pub/sub channels and patterns in Redis."""

from typing import Final

from pushd.core.names import is_pattern

ALL: Final = b"all"
"""The channel to which every node subscribes."""
_SPECIAL = {ord(sign): f"\\{sign}" for sign in "[]?*^-\\"}


def of_node(node: str) -> bytes:
    """Return the channel of one node."""
    return b"n:" + node.encode()


def of_topic(prefix: str, topic: str) -> bytes:
    """Return the channel or pattern of a topic. In Redis `*` matches `/` too; messages of other channels are
    skipped."""
    if not is_pattern(topic):
        return f"{prefix}f:{topic}".encode()
    segments = topic.split("/")
    wild = "/".join(["*" if segment in ("*", "**") else segment.translate(_SPECIAL) for segment in segments])
    return f"{prefix.translate(_SPECIAL)}f:{wild}".encode()

"""Long operations as generators of short steps, between which the caller may do other work."""

from collections.abc import Generator
from typing import Final, TypeVar

STEP: Final = 512
"""Channels, or messages, that are examined in one step: at most a few milliseconds."""

T = TypeVar("T")
Steps = Generator[None, None, T]
"""An operation in steps of a bounded size; the generator returns the result. The log may change between two steps."""

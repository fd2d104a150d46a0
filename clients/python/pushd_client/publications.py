"""A message to be published."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Publication:
    """A message of a batch; its parameters are those of `Pushd.publish`."""

    channel: str
    data: Any = ""
    content_type: str | None = None
    event: str | None = None
    ttl: float | None = None
    end: bool = False
    keep: bool | None = True
    except_: str | None = None

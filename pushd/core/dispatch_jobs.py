"""The jobs of the dispatcher: batches that are sent in slices."""

from collections.abc import Iterator, Sequence

from pushd.core.delivery import Batch
from pushd.core.subscriber import Subscriber

_HEAVY_BYTES = 32 << 10
"""Bytes of a batch whose transmission costs as much as the system call."""


class Job:
    """A batch for its subscribers, or the end of a channel, sent in slices."""

    __slots__ = ("_done", "_subscribers", "batch", "channel", "is_deletion", "seq", "since", "weight")

    def __init__(
        self,
        subscribers: Sequence[Subscriber],
        since: float,
        batch: Batch | None = None,
        channel: str = "",
        seq: int = 0,
        is_deletion: bool = False,
    ) -> None:
        self.since = since
        self.batch = batch
        self.channel = channel
        self.seq = seq
        """The sequence after which the channel ended."""
        self.is_deletion = is_deletion
        """Whether it ended because it was deleted."""
        self.weight = 1 if batch is None else 1 + batch.size // _HEAVY_BYTES
        """The cost of a send to one subscriber."""
        self._subscribers = subscribers
        self._done = 0

    @property
    def is_done(self) -> bool:
        """Whether all subscribers were served."""
        return self._done >= len(self._subscribers)

    def take(self, limit: int) -> Sequence[Subscriber]:
        """Return the next subscribers, with a cost of at most `limit`, but at least one."""
        begin = self._done
        most = limit if self.weight == 1 else max(1, limit // self.weight)
        self._done += most
        return self._subscribers if not begin and self.is_done else self._subscribers[begin : begin + most]


class Plan:
    """Jobs in preparation: subscribers are grouped, in slices, by the channels that they receive."""

    __slots__ = ("jobs", "since", "steps")

    def __init__(self, since: float, steps: Iterator[int], jobs: list[Job]) -> None:
        self.since = since
        self.steps = steps
        """Yields the cost of each step; after the last one, `jobs` is complete."""
        self.jobs = jobs

"""Sessions of Pushlet: the topics of a client, and the cursor up to which it has read."""

from collections.abc import Mapping, Sequence

from pushd.core.cursor import MessageId
from pushd.core.errors import UNAUTHORIZED, Refusal
from pushd.core.peer import Peer
from pushd.dialects.pushlet.events import LATER_MS, STREAMS, EventWire
from pushd.dialects.session_streams import StreamingSession


class Session(StreamingSession):
    """A client."""

    def __init__(self, peer: Peer, wire: EventWire) -> None:
        super().__init__(peer)
        self.wire = wire
        self.subscriptions: dict[str, Sequence[str]] = {}
        """The subjects of each subscription, by its id."""
        self.cursor: MessageId | None = None
        self.mode = ""
        self.next_id = 1
        self.set_mode("stream")

    @property
    def topics(self) -> list[str]:
        """The topics of its subjects: a subject matches as a prefix."""
        subjects = [subject for words in self.subscriptions.values() for subject in words]
        return list(dict.fromkeys(topic for subject in subjects for topic in topics_of(subject)))

    @property
    def size(self) -> int:
        """How many topics its subscriptions have; one of two subscriptions counts twice."""
        return sum(len(topics_of(subject)) for words in self.subscriptions.values() for subject in words)

    def set_mode(self, mode: str) -> None:
        """Set the mode of its next requests; formats that are documents are pulled instead of streamed."""
        self.mode = "pull" if mode == "stream" and self.wire.kind not in STREAMS else mode

    def ack(self, event: str, fields: Mapping[str, str]) -> bytes:
        """Encode the ack of an event that listens.

        :param fields: those of its subscription, if any.
        """
        return self.wire.event(f"{event}-ack", p_id=self.id, p_mode=self.mode, p_format=self.wire.kind, **fields)

    def refresh(self, *, is_late: bool = False) -> bytes:
        """Encode the event after which the client sends the next request.

        Its address has the cursor: a client that sends it has received what is before.

        :param is_late: whether it waits before that.
        """
        return self.wire.refresh(LATER_MS if is_late else 0, self._query)

    def watch(self, seconds: float) -> bytes:
        """Encode what lets a frame send the next request when it receives nothing for so many seconds."""
        return self.wire.watch(seconds, self._query)

    @property
    def _query(self) -> str:
        return f"?p_id={self.id}&p_event=refresh&p_since={'' if self.cursor is None else self.cursor}"

    def again(self, why: Refusal | None) -> bytes:
        """See `StreamingSession`. A client whose credential is not accepted any more does not come back."""
        if isinstance(why, UNAUTHORIZED):
            return self.wire.event("abort", p_id=self.id, p_reason=f"{why.code}: {why}")
        return self.refresh(is_late=why is not None)


def topics_of(subject: str) -> list[str]:
    """Return the topics of a subject; all subjects begin with ``/``."""
    name = subject.removeprefix("/").removesuffix("/")
    return ["**"] if subject == "/" else [name, f"{name}/**"]

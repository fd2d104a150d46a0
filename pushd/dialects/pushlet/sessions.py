"""Sessions of Pushlet: the topics of a client, and the cursor up to which it has read."""

from collections.abc import Sequence
from typing import Final

from pushd.core.cursor import MessageId
from pushd.core.errors import UNAUTHORIZED, Refusal
from pushd.core.peer import Peer
from pushd.dialects.pushlet.events import EventWire
from pushd.dialects.session_streams import StreamingSession

_LATER_MS: Final = 3000


class Session(StreamingSession):
    """A client."""

    def __init__(self, peer: Peer, wire: EventWire) -> None:
        super().__init__(peer)
        self.wire = wire
        self.subscriptions: dict[str, Sequence[str]] = {}
        """The subjects of each subscription, by its id."""
        self.cursor: MessageId | None = None
        self.mode = "pull"
        self.next_id = 1

    @property
    def topics(self) -> list[str]:
        """The topics of its subjects: a subject matches as a prefix."""
        subjects = [subject for words in self.subscriptions.values() for subject in words]
        return list(dict.fromkeys(topic for subject in subjects for topic in topics_of(subject)))

    def refresh(self, *, is_late: bool = False) -> bytes:
        """Encode the event after which the client sends the next request.

        :param is_late: whether it waits before that.
        """
        return self.wire.refresh(_LATER_MS if is_late else 0, f"/pushlet.srv?p_id={self.id}&p_event=refresh")

    def again(self, why: Refusal | None) -> bytes:
        """See `StreamingSession`. A client whose credential is not accepted any more does not come back."""
        if isinstance(why, UNAUTHORIZED):
            return self.wire.event("abort", p_id=self.id, p_reason=f"{why.code}: {why}")
        return self.refresh(is_late=why is not None)


def topics_of(subject: str) -> list[str]:
    """Return the topics of a subject."""
    name = subject.removeprefix("/").removesuffix("/")
    return [name, f"{name}/**"]

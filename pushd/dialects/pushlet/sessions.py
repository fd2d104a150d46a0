"""Sessions of Pushlet: the topics of a client, and the cursor up to which it has read."""

from collections.abc import Sequence

from pushd.core.cursor import MessageId
from pushd.core.peer import Peer
from pushd.dialects import sessions
from pushd.dialects.pushlet.events import EventWire


class Session(sessions.Session):
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


def topics_of(subject: str) -> list[str]:
    """Return the topics of a subject."""
    name = subject.removeprefix("/").removesuffix("/")
    return [name, f"{name}/**"]

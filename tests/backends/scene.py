"""Two nodes at work: subscribers on both, and a publisher through each."""

from tests.backends.nodes import Ear, Heard, Node, Publisher, judge, settled
from tests.backends.redis_server import until


class Scene:
    """Two nodes at work, and what is to be judged of them."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.ears: list[Ear] = []
        self.publishers: list[Publisher] = []

    async def begin(self) -> "Scene":
        """Let ears listen and publishers publish."""
        one, other = self.nodes
        self.ears = [await one.ear("a"), await other.ear("a", "b"), await one.ear("*"), await other.ear("**")]
        self.publishers = [Publisher(one, ("a", "b", "c/d"), "x"), Publisher(other, ("a", "b"), "y")]
        await self.go_on(30)
        return self

    async def go_on(self, count: int) -> None:
        """Let so many more messages be tried."""
        wanted = [publisher.count + count for publisher in self.publishers]
        await until(
            lambda: all(publisher.count >= want for publisher, want in zip(self.publishers, wanted, strict=True)),
            "more publishes",
            30,
        )

    async def be_accepted(self, count: int = 20) -> None:
        """Wait until so many more were accepted through each node."""
        wanted = [len(node.accepted) + count for node in self.nodes]
        await until(
            lambda: all(len(node.accepted) >= want for node, want in zip(self.nodes, wanted, strict=True)),
            "more accepted messages",
            30,
        )

    async def end(self, *, gaps: bool) -> list[Heard]:
        """Stop publishing, wait until all is heard, and judge."""
        for publisher in self.publishers:
            await publisher.stop()
        for node in self.nodes:
            await node.until_well()
        await settled(self.ears, self.nodes)
        accepted = [word for node in self.nodes for word in node.accepted]
        unknown = [text for node in self.nodes for text, _ in node.refused]
        for ear in self.ears:
            judge(ear, accepted, phantoms=unknown, gaps=gaps)
        return accepted

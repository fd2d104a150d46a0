"""What the backends of a single node share: there are no other nodes to ask."""

from collections.abc import Callable

from pushd.core.message import Draft


class SingleNode:
    """The methods of a backend about other nodes, where there are none."""

    node = ""

    async def seek_responders(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        """See `pushd.backends.interface.Backend`, here and below."""

    def report_responders(self, node: str, channel: str, oldest: float) -> None:
        pass

    async def request_channel(self, token: str) -> str | None:
        return None

    async def reply(self, token: str, reply: Draft) -> bool:
        return False

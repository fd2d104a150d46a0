"""The sources that are there, and their change into others while the daemon runs."""

from collections.abc import Callable, Hashable, Mapping

from twisted.application.service import IService, MultiService
from twisted.internet.defer import DeferredList, maybeDeferred

Wanted = Mapping[Hashable, Callable[[], IService]]
"""What builds each source, by all that it is made of."""


class Present(MultiService):
    """The sources that publish."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self._present: dict[Hashable, IService] = {}
        self._add(wanted)

    async def become(self, wanted: Wanted) -> None:
        """Let these sources publish and no others.

        One that is there already goes on as it is. Those that are not wanted have come to their end before others
        begin, since one that was changed may need what it held before.
        """
        gone = [self._present.pop(made_of) for made_of in list(self._present) if made_of not in wanted]
        await DeferredList([maybeDeferred(source.disownServiceParent) for source in gone])
        self._add(wanted)

    def _add(self, wanted: Wanted) -> None:
        for made_of, build in wanted.items():
            if made_of not in self._present:
                source = self._present[made_of] = build()
                source.setServiceParent(self)

"""The sources that are there, and their change into others while the daemon runs."""

from collections.abc import Callable, Hashable, Mapping

from twisted.application.service import IService, MultiService
from twisted.internet.defer import DeferredList, maybeDeferred

SourceFactories = Mapping[Hashable, Callable[[], IService]]
"""What builds each source, by all that it is made of."""


class RunningSources(MultiService):
    """The sources that publish."""

    def __init__(self, factories: SourceFactories) -> None:
        super().__init__()
        self._sources: dict[Hashable, IService] = {}
        self._add(factories)

    async def reconfigure(self, factories: SourceFactories) -> None:
        """Let these sources publish and no others.

        One that is there already goes on as it is. Those that are not wanted have come to their end before others
        begin, since one that was changed may need what it held before.
        """
        removed = [self._sources.pop(key) for key in list(self._sources) if key not in factories]
        await DeferredList([maybeDeferred(source.disownServiceParent) for source in removed])
        self._add(factories)

    def _add(self, factories: SourceFactories) -> None:
        for key, build in factories.items():
            if key not in self._sources:
                source = self._sources[key] = build()
                source.setServiceParent(self)

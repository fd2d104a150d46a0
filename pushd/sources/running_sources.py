"""The running sources, and their replacement when the configuration is reloaded."""

from collections.abc import Callable, Hashable, Mapping

from twisted.application.service import IService, MultiService
from twisted.internet.defer import DeferredList, maybeDeferred

SourceFactories = Mapping[Hashable, Callable[[], IService]]
"""Factory of each source, by its settings: sources with equal keys are interchangeable."""


class RunningSources(MultiService):
    """The parent service of all sources."""

    def __init__(self, factories: SourceFactories) -> None:
        super().__init__()
        self._sources: dict[Hashable, IService] = {}
        self._add(factories)

    async def reconfigure(self, factories: SourceFactories) -> None:
        """Run these sources and no others.

        Sources that are already running are left alone. All removed sources have stopped before new ones start,
        because a changed source may need a resource that it held before.
        """
        removed = [self._sources.pop(key) for key in list(self._sources) if key not in factories]
        await DeferredList([maybeDeferred(source.disownServiceParent) for source in removed])
        self._add(factories)

    def _add(self, factories: SourceFactories) -> None:
        for key, build in factories.items():
            if key not in self._sources:
                source = self._sources[key] = build()
                source.setServiceParent(self)

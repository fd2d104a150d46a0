"""Addresses of dialects with sessions: a request reads topics with the rights that its credential has now."""

from collections.abc import Sequence

from pushd.core.cursor import Since
from pushd.core.replay import StartPosition
from pushd.http.request import Request
from pushd.http.resource import HttpContext, HttpResource
from pushd.hub.hub import Hub


class SessionResource(HttpResource):
    """Executes requests of sessions."""

    parameters = None

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def start(self, request: Request, topics: Sequence[str], since: Since) -> StartPosition:
        """Return where a session begins to read topics.

        :raises Refusal: see `check_rights`.
        """
        version = self.context.authenticator.version
        await self._check(request, topics)
        opening = await self._hub.start_position(request.peer, topics, since)
        await self._check_again(request, topics, version)
        return opening

    async def check_rights(self, request: Request, topics: Sequence[str]) -> None:
        """Check that a client may read the topics of a session.

        :raises NotGranted: when it may not subscribe to one of them, or not read its history.
        :raises Refusal: when its credential is not accepted any more.
        """
        version = self.context.authenticator.version
        await self._check(request, topics)
        await self._check_again(request, topics, version)

    async def _check(self, request: Request, topics: Sequence[str]) -> None:
        """Check the grant of a request: what was missed between two requests is read from the history."""
        await self._hub.callbacks.check_read(request.peer, topics, "subscribe", "history")

    async def _check_again(self, request: Request, topics: Sequence[str], version: object) -> None:
        """Check a request that has waited: its credential may be changed or revoked, and it is not live yet.

        :param version: that of the authenticator when the request was checked before.
        """
        while version is not self.context.authenticator.version:
            version = self.context.authenticator.version
            await self._authenticate(request)
            await self._check(request, topics)
        self._check_not_revoked(request.peer)

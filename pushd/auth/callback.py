"""The callback: the application decides what peers may do, and a reload may change where and about what it is asked."""

from collections.abc import Set
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.web.client import HTTPConnectionPool

from pushd.auth.callback_client import MAX_REQUESTS, CallbackClient, CallbackEndpoint, CallbackTools
from pushd.auth.callback_question import Answer, Question
from pushd.net.outgoing_requests import QuietConnectionPool

_IDLE_SECONDS: Final = 1.5
"""How long a connection is kept for the next request: less than common servers keep it, two seconds at least, so that
a request is not sent while they close it.
"""
_NOTHING_DECIDED: Final = Answer(True)


def make_pool(reactor: Any) -> HTTPConnectionPool:
    """Return the connections to the application. A failed request is not repeated."""
    pool = QuietConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = MAX_REQUESTS
    pool.cachedConnectionTimeout = _IDLE_SECONDS  # type: ignore[assignment]  # passed to `callLater`
    pool.retryAutomatically = False
    return pool


class Callback(Service):
    """The callback of the daemon; off until it is reconfigured with an endpoint.

    :param pool: the connections, which are closed at the stop; None in tests without sockets.
    """

    def __init__(self, tools: CallbackTools, pool: HTTPConnectionPool | None = None) -> None:
        self.asks_connect = self.asks_subscribe = self.asks_publish = False
        """About what the application is asked."""
        self.forward_headers: tuple[str, ...] | None = None
        """The headers of HTTP requests that are forwarded to it; None if it is never asked."""
        self._tools = tools
        self._pool = pool
        self._client: CallbackClient | None = None

    @property
    def endpoint(self) -> CallbackEndpoint | None:
        """Where the application is asked; None if it is not."""
        return None if self._client is None else self._client.endpoint

    @property
    def failure(self) -> str:
        """Why the last request failed, for the health of the daemon; empty if none did."""
        return "" if self._client is None else self._client.failure

    def reconfigure(self, endpoint: CallbackEndpoint | None) -> None:
        """Ask at another endpoint. Its answers are not those of the previous one: these are forgotten."""
        if endpoint == self.endpoint:
            return
        before = self._client
        self._client = None if endpoint is None else CallbackClient(endpoint, self._tools)
        actions = frozenset() if endpoint is None else endpoint.actions
        self.asks_connect = "connect" in actions
        self.asks_subscribe = "subscribe" in actions
        self.asks_publish = "publish" in actions
        self.forward_headers = None if endpoint is None else endpoint.forward_headers
        if before is not None:
            before.stop()

    def forget(self, subjects: Set[str]) -> None:
        """Forget the cached answers about some subjects, whose credentials were revoked."""
        if self._client is not None:
            self._client.forget(subjects)

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question. If the endpoint is replaced meanwhile, the new one decides.

        :raises CallbackUnavailable: when there is none in time.
        """
        while (client := self._client) is not None:
            try:
                answer = await client.ask(question)
            except Exception:
                if client is self._client:
                    raise
            else:
                if client is self._client:
                    return answer
        return _NOTHING_DECIDED

    def stopService(self) -> Deferred[None] | None:
        """Cancel all requests, and close the connections."""
        super().stopService()
        if self._client is not None:
            self._client.stop()
        closing: Deferred[None] | None = None if self._pool is None else self._pool.closeCachedConnections()
        return closing

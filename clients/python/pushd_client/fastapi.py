"""pushd in an application of FastAPI: a client for all requests, signed URLs for pages, and what the daemon sends."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from math import inf
from time import monotonic
from typing import Any, Final

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from .asynchronous import AsyncPushd
from .callbacks import Answer, Decision, Question, decide, verify_question
from .errors import PushdError
from .key_material import Secret, read_secret
from .source_urls import DEFAULT_UNTIL, SourceUrls, fallback_since
from .url_signature import DEFAULT_EXP, UrlKey
from .webhooks import InvalidWebhook, verify_webhook

__all__ = ["AsyncPushd", "Decision", "FastapiPushd", "Question"]

logger = logging.getLogger("pushd_client.fastapi")
MAX_BYTES: Final = 16 << 20
"""The largest body of a callback or of a hook."""
_CURSOR_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 5.0


class FastapiPushd:
    """What an application needs of pushd.

    It is the lifespan of the application, and a dependency::

        push = FastapiPushd(token=Path("app.token"), url_key=("web", Path("web.key")))
        app = FastAPI(lifespan=push.lifespan)

        @app.post("/orders")
        async def order(pushd: Annotated[AsyncPushd, Depends(push)]): ...

    :param url: the daemon, as the application reaches it.
    :param token: with which the application publishes.
    :param public_url: the daemon, as browsers reach it; None: the same. See `SourceUrls`.
    :param url_key: id and secret of the key that signs URLs; None: they are not signed.
    :param exp: how long after rendering a page may connect first.
    :param until: how long after rendering a page may reconnect.
    :param hook_secret: the secret of hooks, or several.
    :param callback_secret: the secret of ``[auth.callback]``, or several.
    :param timeout: the seconds that a request may wait for the daemon.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        token: Secret | None = None,
        *,
        public_url: str | None = None,
        url_key: UrlKey | tuple[str, Secret] | None = None,
        exp: timedelta = DEFAULT_EXP,
        until: timedelta = DEFAULT_UNTIL,
        hook_secret: Secret | Iterable[Secret] = (),
        callback_secret: Secret | Iterable[Secret] = (),
        timeout: float = 3.0,
    ) -> None:
        self._url = url
        self._token = token
        self._sources = SourceUrls((public_url or url).rstrip("/"), url_key, exp, until)
        self._hook_secret = hook_secret
        self._callback_secret = callback_secret
        self._timeout = timeout
        self._client: AsyncPushd | None = None
        self._cursor_client: AsyncPushd | None = None
        self._away_until = -inf

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Keep the client while the application runs.

        A lifespan of your own enters it: ``async with push.lifespan():``.
        """
        cursor_seconds = min(_CURSOR_SECONDS, self._timeout)
        async with self._open(self._timeout) as client, self._open(cursor_seconds) as cursor_client:
            self._client, self._cursor_client = client, cursor_client
            try:
                yield
            finally:
                self._client = self._cursor_client = None

    async def __call__(self) -> AsyncPushd:
        """Return the client: ``Depends(push)``."""
        return _running(self._client)

    async def cursor(self) -> str:
        """Return the cursor of the present, as `since` of `source_url`.

        Call it before the page reads its data. If the daemon does not answer, the error is logged, and for five seconds
        it is not asked again: a time of two seconds ago is returned.
        """
        client = _running(self._cursor_client)
        if monotonic() < self._away_until:
            return fallback_since()
        try:
            return await client.cursor()
        except (PushdError, OSError) as error:
            self._away_until = monotonic() + _AWAY_SECONDS
            logger.error("Pages are rendered without a cursor, and subscribe from two seconds ago: %s", error)
            return fallback_since()

    async def source_url(
        self,
        topics: str | Iterable[str],
        *,
        since: str | None = None,
        sub: str | int | None = None,
        resource: str = "sse",
        **parameters: object,
    ) -> str:
        """Return a signed URL for an EventSource, which begins at `since` or now. See `SourceUrls.url`."""
        begin = await self.cursor() if since is None else since
        return self._sources.url(topics, since=begin, sub=sub, resource=resource, **parameters)

    async def events(self, request: Request) -> list[dict[str, Any]]:
        """Return the events of a hook, whose signature was verified: ``Depends(push.events)``.

        The daemon sends them again until the response is 200 to 299; ignore an ``id`` that was handled.
        """
        body = await _body(request)
        try:
            batch = verify_webhook(request.headers, body, self._hook_secret)
        except InvalidWebhook as error:
            raise HTTPException(400, str(error)) from None
        events: list[dict[str, Any]] = batch.get("events", [])
        return events

    async def question(self, request: Request) -> Question:
        """Return the question of the callback, whose signature was verified: ``Depends(push.question)``."""
        body = await _body(request)
        try:
            return verify_question(request.headers, body, self._callback_secret)
        except InvalidWebhook as error:
            raise HTTPException(400, str(error)) from None

    def callback(self, function: Callable[..., Answer | Awaitable[Answer]]) -> Callable[..., Awaitable[JSONResponse]]:
        """Decorate the function of a route for ``[auth.callback]``, which returns a grant, a `Decision` or a bool::

        @app.post("/pushd/callback")
        @push.callback
        async def authorize(question: Annotated[Question, Depends(push.question)]): ...

        """

        @wraps(function)
        async def respond(*args: Any, **options: Any) -> JSONResponse:
            if iscoroutinefunction(function):
                answer = await function(*args, **options)
            else:
                answer = await run_in_threadpool(function, *args, **options)
            return JSONResponse(decide(answer).to_json())

        return respond

    def _open(self, seconds: float) -> AsyncPushd:
        token = self._token
        read = None if token is None else lambda: read_secret(token).decode("utf-8").strip()
        return AsyncPushd(self._url, read, timeout=seconds, retry_seconds=seconds)


def _running(client: AsyncPushd | None) -> AsyncPushd:
    if client is None:
        raise RuntimeError("application must be created with lifespan=push.lifespan, or enter it in its own lifespan")
    return client


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            raise HTTPException(413)
    return bytes(content)

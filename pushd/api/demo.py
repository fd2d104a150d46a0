"""Demonstrations: ``GET /demo/``, a page for each way of pushing, which work without any configuration."""

from collections.abc import Awaitable, Callable, Mapping

from pushd.api.pages import DEMOS
from pushd.core.errors import NotFound
from pushd.http.query import name_in_path
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource


class DemoResource(HttpResource):
    """The pages, and a list of them. All their links are relative, so they work below any prefix."""

    def __init__(self, context: HttpContext, pages: Mapping[str, bytes] = DEMOS) -> None:
        super().__init__(context)
        self._pages = pages

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def _get(self, request: Request) -> Answer:
        if not request.postpath:
            request.setResponseCode(301)
            request.setHeader(b"Location", b"demo/")
            return b""
        page = self._pages.get(name_in_path(request) or "index")
        if page is None:
            raise NotFound("there is no such page; /demo/ lists them")
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        request.setHeader(b"Cache-Control", b"no-cache")
        return page

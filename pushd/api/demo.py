"""Demonstrations: ``GET /demo/``, one page for each transport. They work without any configuration."""

from collections.abc import Mapping

from pushd.api.pages import DEMOS
from pushd.core.errors import NotFound
from pushd.http.query import name_in_path
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource


class DemoResource(HttpResource):
    """The pages and their list. All links are relative, so they work below any prefix."""

    is_open = True
    parameters = None

    def __init__(self, context: HttpContext, pages: Mapping[str, bytes] = DEMOS) -> None:
        super().__init__(context)
        self._pages = pages

    async def get(self, request: Request) -> Answer:
        """Answer with a page, or redirect to the list."""
        if not request.postpath:
            request.setResponseCode(301)
            request.setHeader(b"Location", b"demo/")
            return b""
        page = self._pages.get(name_in_path(request) or "index")
        if page is None:
            raise NotFound("there is no such page; /demo/ lists them")
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-cache")
        return page

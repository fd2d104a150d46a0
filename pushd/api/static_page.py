"""Static pages, such as the index."""

from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource


class PageResource(HttpResource):
    """A static page."""

    is_open = True
    parameters = None

    def __init__(self, context: HttpContext, content_type: bytes, body: bytes) -> None:
        super().__init__(context)
        self._content_type = content_type
        self._body = body

    async def get(self, request: Request) -> Answer:
        """Answer with the page."""
        require_no_subpath(request)
        request.setHeader(b"Content-Type", self._content_type)
        return self._body

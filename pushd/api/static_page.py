"""Static pages, such as the index."""

from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource


class PageResource(HttpResource):
    """A static page.

    :param policy: its Content-Security-Policy; empty: none.
    """

    is_open = True
    parameters = None

    def __init__(self, context: HttpContext, content_type: bytes, body: bytes, policy: bytes = b"") -> None:
        super().__init__(context)
        self._content_type = content_type
        self._body = body
        self._policy = policy

    async def get(self, request: Request) -> Answer:
        """Answer with the page."""
        require_no_subpath(request)
        request.setHeader(b"Content-Type", self._content_type)
        if self._policy:
            request.setHeader(b"Content-Security-Policy", self._policy)
        return self._body

"""Scripts for pages of the application: ``GET /client.js``."""

import gzip
import re
from hashlib import sha256

from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource

_ACCEPTS_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)")


class ScriptResource(HttpResource):
    """A script that never changes while the daemon runs.

    Caches keep it and ask whether it is still current (RFC 9110, section 13.1.2), so that pages have the client that
    fits the daemon. It is compressed once, when the daemon starts.
    """

    is_open = True
    parameters = None

    def __init__(self, context: HttpContext, body: bytes) -> None:
        super().__init__(context)
        self._body = body
        self._compressed = gzip.compress(body, mtime=0)
        self._digest = sha256(body).hexdigest()[:32]

    async def get(self, request: Request) -> Answer:
        """Answer with the script, or with 304 if the client has it."""
        require_no_subpath(request)
        request.setHeader(b"ETag", b'W/"%b"' % self._digest.encode("ascii"))
        request.setHeader(b"Cache-Control", b"no-cache")
        request.addHeader(b"Vary", b"Accept-Encoding")
        if self._digest in (request.getHeader(b"if-none-match") or b"").decode("latin-1"):
            request.setResponseCode(304)
            return b""
        request.setHeader(b"Content-Type", b"text/javascript; charset=utf-8")
        if not _ACCEPTS_GZIP.search((request.getHeader(b"accept-encoding") or b"").decode("latin-1").lower()):
            return self._body
        request.setHeader(b"Content-Encoding", b"gzip")
        return self._compressed

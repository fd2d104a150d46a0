"""The console for operators: ``GET /console/``. Its files are public; what they show needs a grant."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from pushd.api.pages import CONSOLE
from pushd.core.errors import NotFound
from pushd.http.query import name_in_path
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource

_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content Security Policy Level 3: nothing from elsewhere, nothing inline, and no text that becomes markup."""


class ConsoleResource(HttpResource):
    """The page, its modules and its style sheet. All links are relative, so they work below any prefix."""

    is_open = True
    parameters = None

    def __init__(self, context: HttpContext, files: Mapping[str, bytes] = CONSOLE) -> None:
        super().__init__(context)
        self._files = files
        self._tags = {name: b'"%b"' % sha256(body).hexdigest()[:32].encode("ascii") for name, body in files.items()}

    async def get(self, request: Request) -> Answer:
        """Answer with a file, or with 304 if the client has it; redirect to the page."""
        if not request.postpath:
            request.setResponseCode(301)
            request.setHeader(b"Location", b"console/")
            return b""
        name = name_in_path(request) or "index.html"
        if name not in self._files:
            raise NotFound("there is no such file; the console is at /console/")
        request.setHeader(b"Content-Security-Policy", _POLICY)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        request.setHeader(b"Cache-Control", b"no-cache")
        request.setHeader(b"ETag", self._tags[name])
        if self._tags[name] in (request.getHeader(b"if-none-match") or b""):
            request.setResponseCode(304)
            return b""
        request.setHeader(b"Content-Type", _TYPES[name.rpartition(".")[2]])
        return self._files[name]

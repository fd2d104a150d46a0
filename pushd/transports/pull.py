"""Client pull: ``GET /pull/CH``, a page with the newest message that reloads itself.

An ephemeral message is shown if it arrives while a page is held.
"""

import base64
from html import escape
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred

from pushd.auth.url_signature import RECONNECT_PARAMETERS, encode_query
from pushd.core.cursor import Last, MessageId, Since
from pushd.core.errors import BadParameter, Forbidden
from pushd.core.media_type import essence
from pushd.core.message import Message
from pushd.core.names import check_channel
from pushd.core.poll import PollResult
from pushd.http.answers import sandbox
from pushd.http.authentication import is_signed
from pushd.http.query import CURSOR_PARAMETERS, name_in_path, parameter, since_of, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.transports.held_requests import HeldRequests

_INTERVAL = 12
_DAY = 86400
_HOLD_SECONDS = 25.0
"""Seconds for which a page of interval 0 is held while there is no new message. Without, it would reload in a loop."""
_MAX_URL = 2000
_CURSORS = (b"since", *RECONNECT_PARAMETERS)
_RECONNECT = RECONNECT_PARAMETERS[0]
_PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="{refresh}">
<title>{title}</title>
<body>{body}
"""


class PullResource(HttpResource):
    """Pages that reload themselves after an interval."""

    parameters = frozenset({"interval", "url", *CURSOR_PARAMETERS})
    transport_name = "pull"

    def __init__(self, context: HttpContext, hub: Hub, held_requests: HeldRequests) -> None:
        super().__init__(context)
        self._hub = hub
        self._held_requests = held_requests

    async def head(self, request: Request) -> Answer:
        """Answer at once, for any interval."""
        channels = (check_channel(name_in_path(request)),)
        await self._hub.callbacks.check_read(request.peer, channels, "history")
        _set_headers(request, self._refresh(request, None))
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with a page."""
        channel = check_channel(name_in_path(request))
        self._refresh(request, None)
        since = since_of(request)
        message, cursor = None, ""
        if _interval(request) == 0 and isinstance(since, MessageId):
            result = await self._hold(request, channel, since)
            if result is None:
                return None
            if result.messages and not result.messages[-1].is_kept:
                message, cursor = result.messages[-1], result.position
        if message is None:
            newest = await self._hub.queries.history(request.peer, (channel,), Last(1), 1, 1)
            message = newest.messages[-1] if newest.messages else None
            cursor = message.id if message else str(newest.position)
        request.setHeader(b"Pushd-Cursor", cursor.encode("ascii"))
        refresh = self._refresh(request, cursor)
        _set_headers(request, refresh)
        page = _PAGE.format(refresh=escape(refresh), title=escape(channel), body=_render_message(message))
        return page.encode("utf-8")

    async def _hold(self, request: Request, channel: str, cursor: Since) -> PollResult | None:
        """Wait for a new message; return None if the client has disconnected."""
        result: Deferred[PollResult | None] = Deferred()
        await self._held_requests.hold(request, self.transport_name, (channel,), cursor, _HOLD_SECONDS, result.callback)
        return await result

    def _refresh(self, request: Request, cursor: str | None) -> str:
        """Return the value of the ``Refresh`` header: the seconds, and the URL to load then.

        :raises BadParameter: when the interval or the URL is invalid.
        :raises Forbidden: when the host of the URL is not in ``http.pull_hosts``.
        """
        interval = _interval(request)
        if url := parameter(request, b"url"):
            return f"{interval}; url={self._checked_url(url)}"
        return f"0; url=?{_next_query(request, cursor)}" if interval == 0 and cursor else str(interval)

    def _checked_url(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= _MAX_URL
        except ValueError:
            is_address = False
        if (
            not is_address
            or not url.isascii()
            or any(letter in url for letter in " \"'<>\\;,")
            or not url.isprintable()
        ):
            raise BadParameter(f"invalid url: must be an absolute http or https URL of at most {_MAX_URL} characters")
        if parts.hostname not in self.context.pull_hosts or parts.username is not None:
            raise Forbidden("host of url is not allowed: http.pull_hosts must name it")
        return url


def _next_query(request: Request, cursor: str) -> str:
    """Return the query of the page with what follows a cursor: the same request with the same credential.

    A signature covers ``since``, so a signed URL gets the cursor in a parameter that it does not cover.
    """
    name, replaced = (_RECONNECT, RECONNECT_PARAMETERS) if is_signed(request) else (b"since", _CURSORS)
    kept = [(key, values) for key, values in request.args.items() if key not in replaced]
    query = encode_query(kept).decode("ascii")
    return f"{query}&{name.decode('ascii')}={cursor}"


def _interval(request: Request) -> int:
    return whole_number(request, b"interval", _INTERVAL, 0, _DAY)


def _set_headers(request: Request, refresh: str) -> None:
    request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    request.setHeader(b"Refresh", refresh.encode("ascii"))
    sandbox(request)


def _render_message(message: Message | None) -> str:
    if message is None:
        return "<p>There is no message yet."
    kind = essence(message.content_type)
    if kind.startswith("image/"):
        return f'<img alt="" src="data:{escape(kind)};base64,{base64.b64encode(message.data).decode("ascii")}">'
    if message.encoding == "binary":
        return f"<p>{len(message.data)} bytes of {escape(message.content_type)}"
    text = message.data.decode("utf-8")
    return text if kind == "text/html" else f"<pre>{escape(text)}</pre>"

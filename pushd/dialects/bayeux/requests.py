"""Bayeux over HTTP: long-polling and callback-polling; `GET` opens WebSockets and event streams, too."""

from collections.abc import Sequence

from pushd.core.errors import BadParameter, BadRequest, InternalError, NotFound
from pushd.core.media_type import essence
from pushd.dialects.bayeux.browsers import Browsers
from pushd.dialects.bayeux.connects import HeldConnect
from pushd.dialects.bayeux.envelope import array, callback_name, form_messages, joined, parse, script
from pushd.dialects.bayeux.event_stream import EventStreams
from pushd.dialects.bayeux.exchange import PendingConnect
from pushd.dialects.bayeux.operations import Operations
from pushd.dialects.bayeux.sockets import Sockets
from pushd.http.errors import render_refusal
from pushd.http.message_body import check_body_is_data, content_type_of
from pushd.http.origins import is_own_page
from pushd.http.query import parameter
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.net.admission import Slot

_JSON = b"application/json; charset=utf-8"
_SCRIPT = b"text/javascript; charset=utf-8"
_FORMS = ("application/x-www-form-urlencoded", "text/plain")
"""The types of bodies with the field ``message``, which a page may send to other origins without asking before."""


class BayeuxResource(HttpResource):
    """The one address of Bayeux. CometD appends the kind of message to it, faye the id of a client."""

    parameters = None
    transport_name = "bayeux"

    def __init__(
        self,
        context: HttpContext,
        operations: Operations,
        sockets: Sockets,
        streams: EventStreams,
        browsers: Browsers,
    ) -> None:
        super().__init__(context)
        self._browsers = browsers
        self._operations = operations
        self._sockets = sockets
        self._streams = streams

    async def post(self, request: Request) -> Answer:
        """Execute the messages of the body."""
        _check_path(request)
        check_body_is_data(request)
        body = request.body
        if essence(content_type_of(request)) in _FORMS and body.lstrip()[:1] not in (b"[", b"{"):
            body = form_messages(body)
        return await self._serve(request, body, None)

    async def get(self, request: Request) -> Answer:
        """Execute the messages of the query, or open a WebSocket or an event stream."""
        _check_path(request)
        if request.getHeader(b"upgrade") is not None:
            self._sockets.open(request)
            return None
        if b"text/event-stream" in (request.getHeader(b"accept") or b""):
            return await self._streams.open(request)
        envelopes = request.args.get(b"message", [])
        if not envelopes:
            raise BadRequest("GET needs the parameter message, a WebSocket handshake, or Accept: text/event-stream")
        self.context.check_origin(request)  # it writes
        callback = callback_name(parameter(request, b"jsonp"))
        return await self._serve(request, joined(envelopes), callback)

    async def head(self, request: Request) -> Answer:
        """Refuse: an answer depends on what a request does."""
        raise BadParameter("HEAD has no meaning in Bayeux")

    async def _authenticate(self, request: Request) -> bool:
        """Authenticate. Where any page may send requests, cookies are ignored: the user may not know of the page."""
        if self._is_of_any_page(request):
            request.drop_cookies()
        if request.hasAnswerHeader(b"Access-Control-Allow-Origin"):
            request.setHeader(b"Access-Control-Allow-Credentials", b"true")
        return await super()._authenticate(request)

    def _is_of_any_page(self, request: Request) -> bool:
        """Return whether a page that is only accepted since every page is has sent a request."""
        origin = request.getHeader(b"origin")
        if origin is None or "*" not in self.context.allow_origins:
            return False
        site, host = request.getHeader(b"sec-fetch-site"), request.getHeader(b"host")
        return not is_own_page(origin, site, host, self.context.allow_origins)

    def _preflight(self, request: Request, allowed: bytes) -> Answer:
        answer = super()._preflight(request, allowed)
        if request.hasAnswerHeader(b"Access-Control-Allow-Origin"):
            request.setHeader(b"Access-Control-Allow-Credentials", b"true")
        return answer

    async def _serve(self, request: Request, body: bytes, callback: bytes | None) -> Answer:
        peer = self.context.peer_of(request, self.transport_name)
        exchange = await self._operations.execute(parse(body), peer, can_wait=False)
        if exchange.has_begun and not self._is_of_any_page(request):
            self._browsers.set_cookie(request)
        if exchange.connect is None:
            return _render(request, exchange.replies, callback)
        if request.is_disconnected:
            return None
        return await self._hold(request, exchange.replies, exchange.connect, callback)

    async def _hold(
        self, request: Request, replies: Sequence[bytes], connect: PendingConnect, callback: bytes | None
    ) -> Answer:
        """Answer when the connect is answered."""
        if connect.session.held is not None:
            connect.session.held.release()  # it is replaced, and does not count
        browser = self._browsers.browser_of(request) if connect.seconds else None
        if not self._browsers.has_room(browser):
            browser, limited = None, await self._operations.limit(connect)
            if isinstance(limited, bytes):
                return _render(request, [*replies, limited], callback)
            connect = limited
        slots = self._browsers.slots_of(browser, self.context.admit_stream(request))
        waiting = _WaitingRequest(request, replies, callback, slots)
        waiting.begin(self._operations, connect, self.transport_name)
        return None


class _WaitingRequest:
    """A request whose connect is held."""

    __slots__ = ("_callback", "_held", "_replies", "_request", "_slots")

    def __init__(
        self, request: Request, replies: Sequence[bytes], callback: bytes | None, slots: Sequence[Slot]
    ) -> None:
        self._request = request
        self._replies = replies
        self._callback = callback
        self._slots = slots
        self._held: HeldConnect | None = None

    def begin(self, operations: Operations, connect: PendingConnect, transport_name: str) -> None:
        held = operations.hold(connect, transport_name, self._answer)
        if not held.is_done:
            self._held = held
            self._request.hold(self._disconnected, held.release)
            self._request.release()

    def _answer(self, parts: Sequence[bytes]) -> None:
        request, self._held = self._request, None
        self._release()
        try:
            request.answer(_render(request, [*self._replies, *parts], self._callback))
        except Exception:
            HttpResource.log.failure("Answering a Bayeux connect failed")
            request.answer(
                render_refusal(request, InternalError("internal error; the log of the daemon has the details"))
            )

    def _disconnected(self) -> None:
        held, self._held = self._held, None
        self._release()
        if held is not None:
            held.forget()

    def _release(self) -> None:
        for slot in self._slots:
            slot.release()


def _render(request: Request, replies: Sequence[bytes], callback: bytes | None) -> bytes:
    """Set the headers and return the body of an answer."""
    if callback is None:
        request.setHeader(b"Content-Type", _JSON)
        return array(replies)
    request.setHeader(b"Content-Type", _SCRIPT)
    request.setHeader(b"Content-Disposition", b'attachment; filename="bayeux.js"')
    return script(callback, array(replies))


def _check_path(request: Request) -> None:
    if len(request.postpath) > 1:
        raise NotFound("there is no such address: at most one segment may follow the path of Bayeux")

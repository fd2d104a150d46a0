"""What all HTTP resources share: origins, client addresses, methods, and answers to refused requests (RFC 9110)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.auth.signed_urls import SignedUrls
from pushd.auth.url_signature import CREDENTIAL_PARAMETERS
from pushd.core.errors import UNAUTHORIZED, Forbidden, InternalError, NotFound, Refusal, TooManyConnections
from pushd.core.grant import FULL, NOTHING
from pushd.core.identity import Identity
from pushd.core.peer import Peer
from pushd.http.access_log import AccessLog
from pushd.http.authentication import TOKEN_PARAMETER, Carriers, forwarded_headers, identity_of_url, is_signed
from pushd.http.errors import render_refusal
from pushd.http.limits import HttpLimits
from pushd.http.origins import embedding_headers, is_cross_site, is_known_host, is_own_page, is_same_origin
from pushd.http.query import check_parameters
from pushd.http.refusals import MethodNotAllowed
from pushd.http.repeated_refusals import RepeatedRefusals
from pushd.http.request import Request
from pushd.hub.callbacks import CallbackChecks
from pushd.metrics import Counters
from pushd.net.addresses import Network, forwarded_host, host_of, is_in_networks
from pushd.net.admission import Admission, Slot, network_of
from pushd.net.eager_task import run_eagerly

_EXPOSED_HEADERS = (
    b"Pushd-Cursor, Pushd-Connection, Pushd-Id, Pushd-Gap, Pushd-End, Pushd-Channel, Pushd-Event, ETag, Last-Event-ID, "
    b"RateLimit, RateLimit-Policy, Retry-After"
)
_REQUEST_HEADERS = (
    b"Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Pragma, "
    b"X-Requested-With"
)


_LOCAL = Peer("http", "loopback", FULL)
"""The peer of all requests from loopback and unix sockets where authentication is off."""
_SHOWN_ORIGIN = 255
"""Bytes of a refused origin that are logged."""


@dataclass
class HttpContext:
    """The settings and counters of all resources. They share one object, so that a reload reaches all at once."""

    limits: HttpLimits
    counters: Counters
    admission: Admission
    allow_origins: frozenset[str] = frozenset()
    """Origins (``scheme://host[:port]``) whose pages may read and write, besides the daemon's own; ``*`` means all."""
    allow_credentials: bool = False
    """Whether pages of origins that are named may read answers to requests with credentials, such as cookies."""
    hosts: frozenset[str] = frozenset()
    """Host names that loopback listeners serve besides ``localhost`` and IP addresses, in lower case."""
    pull_hosts: frozenset[str] = frozenset()
    """Hosts that a page of client pull may load next."""
    proxies: tuple[Network, ...] = ()
    """The networks of proxies whose ``X-Forwarded-For`` is trusted."""
    access: AccessLog = field(default_factory=AccessLog)
    authenticator: Authenticator = NO_AUTHENTICATION
    carriers: Carriers = field(default_factory=Carriers)
    signed_urls: SignedUrls | None = None
    """Verifies signed URLs; None or without keys: they are not accepted."""
    repeated_refusals: RepeatedRefusals = field(default_factory=RepeatedRefusals)
    callbacks: CallbackChecks | None = None
    """Asks the application about peers; None in tests that have no hub."""

    def reconfigure(self, other: "HttpContext") -> None:
        """Apply the settings of another context."""
        self.limits, self.hosts = other.limits, other.hosts
        self.allow_origins, self.allow_credentials = other.allow_origins, other.allow_credentials
        self.pull_hosts, self.proxies = other.pull_hosts, other.proxies
        self.carriers = other.carriers
        self.access.share = other.access.share

    def is_proxy(self, host: str | None) -> bool:
        """Return whether a host is a trusted proxy."""
        return bool(self.proxies) and host is not None and is_in_networks(host, self.proxies)

    def client_of(self, request: Request) -> str:
        """Return the address of the client: the peer's, or the one that a trusted proxy has forwarded."""
        peer = host_of(request.client)
        if not self.proxies:
            return peer or "unix"
        chain = (request.getHeader(b"x-forwarded-for") or b"").decode("latin-1").split(",")
        while self.is_proxy(peer) and chain and (forwarded := forwarded_host(chain.pop())):
            peer = forwarded
        return peer or "unix"

    def peer_of(self, request: Request, transport: str) -> Peer:
        """Return the peer of a connection that begins with an authenticated request; the request has it from now on,
        since a reload may change its grant.
        """
        before, client = request.peer, self.client_of(request)
        peer = request.peer = Peer(transport, client, before.grant, before.identity, network_of(client))
        peer.forwarded = before.forwarded
        return peer

    def requester(self, request: Request, transport: str = "http") -> Peer:
        """Return who has sent a request that is refused, as far as that is known."""
        client = self.client_of(request)
        return Peer(transport, client, NOTHING, request.peer.identity, network_of(client))

    async def authenticate(self, request: Request, *, needs_revocations: bool = True) -> Peer:
        """Return the peer of a request.

        :param needs_revocations: see `Authenticator.check_revocations`.
        :raises TokenInvalid: when its credential is not accepted.
        :raises TokenExpired: when its credential has expired.
        :raises TokenRevoked: when its credential has been revoked.
        :raises Unavailable: when it cannot be known whether its credential has been revoked.
        :raises BadRequest: when it has several credentials.
        :raises BadParameter: when its URL is signed, and has a parameter of the signature more than once.
        :raises Forbidden: when it is authenticated by a cookie, and a page of a foreign origin may have sent it.
        """
        client = self.client_of(request)
        network = network_of(client)
        if not self.authenticator.is_enabled:
            return _LOCAL if network is None else Peer("http", client, FULL, None, network)
        identity = await self._identity_of(request)
        if identity is not None:
            self.authenticator.check_revocations(identity, needs_revocations=needs_revocations)
        grant = self.authenticator.anonymous if identity is None else identity.grant
        return Peer("http", client, grant, identity, network)

    @property
    def asks_application(self) -> bool:
        """Whether the application is asked about peers."""
        return self.callbacks is not None and self.callbacks.application.forward_headers is not None

    async def ask_application(self, request: Request, transport: str, *, is_asked_later: bool) -> None:
        """Ask the application about the peer of an authenticated request, and set what it may do.

        :param transport: what the request is for, as it is sent to the application.
        :param is_asked_later: whether a peer without a credential is asked about at its first command; see `UNASKED`.
        :raises Refusal: when the application refuses it or does not answer, or its credential is not accepted any more.
        """
        version = self.authenticator.version
        while (callbacks := self.callbacks) is not None:
            peer, names = request.peer, callbacks.application.forward_headers or ()
            peer.transport, peer.forwarded = transport, forwarded_headers(request, names, self.allow_origins)
            await callbacks.connect_request(peer, is_asked_later=is_asked_later)
            if version is self.authenticator.version:
                return
            version = self.authenticator.version  # a reload may have changed the grant of the credential meanwhile
            request.peer = await self.authenticate(request)

    async def _identity_of(self, request: Request) -> Identity | None:
        """Return the identity of a request; None if it has no credential."""
        if self.signed_urls is not None and self.signed_urls.keys and is_signed(request):
            return await identity_of_url(request, self.signed_urls, self.carriers)
        credential = self.carriers.credential_of(request)
        if credential is None:
            return None
        if credential.is_cookie:
            self._check_cookie_origin(request)
        if credential.is_in_query:  # the pages of client pull load what publishers put into them
            request.setHeader(b"Referrer-Policy", b"no-referrer")
        return await self.authenticator.verify(credential.token)

    @property
    def credential_parameters(self) -> frozenset[str]:
        """The parameters of signed URLs, if these are accepted."""
        return CREDENTIAL_PARAMETERS if self.signed_urls is not None and self.signed_urls.keys else frozenset()

    def _check_cookie_origin(self, request: Request) -> None:
        """Check that no page of a foreign origin made the browser send a cookie."""
        origin, site = request.getHeader(b"origin"), request.getHeader(b"sec-fetch-site")
        is_reading = request.method in _SAFE and not request.is_handshake
        if origin is None:
            is_own = is_reading and site in (b"same-origin", b"none")
        else:
            is_own = is_own_page(origin, site, request.getHeader(b"host"), self.allow_origins)
        if not is_own:
            raise Forbidden("cookie must come from a page of the same origin, or of one that http.allow_origins names")

    def open_cors(self, request: Request) -> None:
        """Set the CORS headers for an allowed origin (WHATWG Fetch, section 3.2).

        With `allow_credentials` those that are named may send credentials; ``*`` would let any page act for the user.
        """
        if not self.allow_origins:
            return
        request.setHeader(b"Vary", b"Origin")
        origin = request.getHeader(b"origin")
        if origin is not None and self._is_allowed(origin):
            request.setHeader(b"Access-Control-Allow-Origin", origin)
            request.setHeader(b"Access-Control-Expose-Headers", _EXPOSED_HEADERS)
            if self.allow_credentials and origin.decode("latin-1") in self.allow_origins:
                request.setHeader(b"Access-Control-Allow-Credentials", b"true")

    def embedding_headers(self) -> bytes:
        """Return the header lines about embedding that all answers share."""
        return embedding_headers(self.allow_origins)

    def check_origin(self, request: Request) -> None:
        """Check the origin of a request that writes or opens a WebSocket.

        :raises Forbidden: when it comes from a page of a foreign origin.
        """
        origin, fetch_site = request.getHeader(b"origin"), request.getHeader(b"sec-fetch-site")
        if (origin is None and fetch_site is None) or self._is_allowed(origin or b""):
            return
        is_foreign = origin is not None and not is_same_origin(origin, request.getHeader(b"host") or b"")
        if is_foreign or is_cross_site(fetch_site):
            peer, shown = f"http {self.client_of(request)}", (origin or b"cross-site")[:_SHOWN_ORIGIN]
            self.counters.log_refused_origin(peer, shown.decode("ascii", "backslashreplace"))
            raise Forbidden(
                "pages of other origins may not write or open a WebSocket, unless http.allow_origins names them"
            )

    def serves_host(self, authority: bytes) -> bool:
        """Return whether loopback listeners serve a host; see `is_known_host`."""
        return is_known_host(authority, self.hosts)

    def _is_allowed(self, origin: bytes) -> bool:
        return bool(self.allow_origins & {origin.decode("latin-1"), "*"})

    def admit_stream(self, request: Request) -> Slot | None:
        """Return a slot for a stream of a client behind a proxy; None for others: their connections have slots.

        :raises TooManyConnections: when its address or the daemon has too many connections.
        """
        if request.is_spare:
            raise TooManyConnections("there are too many connections already")
        if self.is_proxy(host_of(request.client)):
            return self.admission.admit_behind_proxy(self.client_of(request))
        return None


_SAFE = (b"GET", b"HEAD", b"OPTIONS")
"""Safe methods (RFC 9110, section 9.2.1)."""
_METHODS = ("get", "post", "put", "delete")
"""The coroutines of a resource that answer the methods of these names."""

Answer = bytes | None
"""The body of an answer; None if the resource answers by itself."""


class HttpResource(Resource):
    """A resource. Subclasses define `get`, `post`, `put` or `delete`: coroutines that are called with a `Request`, and
    return an `Answer` or raise a `Refusal`. HEAD and OPTIONS are derived from them.
    """

    isLeaf = True
    log = Logger()
    transport_name = "http"
    """The transport of its requests."""
    parameters: ClassVar[frozenset[str] | None] = frozenset()
    """The parameters of GET and HEAD. Others are refused if they look like one of them. None: all are accepted."""
    needs_revocations: ClassVar[bool] = True
    """Whether it refuses tokens while newer revocations may be unknown."""
    is_open: ClassVar[bool] = False
    """Whether it answers without authentication. It must not use the hub."""
    write_parameters: ClassVar[frozenset[str]] = frozenset()
    """The parameters of the other methods. All others are refused."""

    def __init__(self, context: HttpContext) -> None:
        super().__init__()
        self.context = context

    def transport_of(self, request: Request) -> str:
        """Return the transport of a request, as it is sent to the application."""
        return self.transport_name

    def is_asked_later(self, request: Request) -> bool:
        """Return whether a peer without a credential may still authenticate by a command; see
        `HttpContext.authenticate`.
        """
        return False

    def max_body(self, request: Request) -> int:
        """Return the most bytes of the body of a request. It is called before the body is read."""
        return self.context.limits.message

    def render(self, request: Request) -> Any:
        """Answer a request of any method; see `RequestResource`."""
        run_eagerly(self._render(request), lambda failure: self._on_error(failure, request))
        return NOT_DONE_YET

    async def _render(self, request: Request) -> None:
        try:
            body = await self._answer(request)
        except Refusal as refusal:
            self.refuse(request, refusal)
        else:
            if body is not None:
                request.answer(body)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request. An address that repeats refused requests is asked to wait longer each time."""
        peer = self.context.requester(request)
        self.context.counters.count_refusal(refusal, peer)
        if isinstance(refusal, UNAUTHORIZED) and (
            seconds := self.context.repeated_refusals.count(peer.network or peer.address)
        ):
            request.setHeader(b"Retry-After", b"%d" % seconds)
        request.answer(render_refusal(request, refusal))

    @cached_property
    def _methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """The coroutines of the methods that the resource has."""
        return {name.upper().encode("ascii"): getattr(self, name) for name in _METHODS if hasattr(self, name)}

    async def _answer(self, request: Request) -> Answer:
        self.context.open_cors(request)
        if request.method not in _SAFE:
            self.context.check_origin(request)
        method = self._methods.get(request.method)
        if method is None:
            return await self._answer_other(request)
        if not await self._authenticate(request):
            return None
        if request.query:
            self._check_parameters(request)
        answer = await method(request)
        if answer is not None and request.method == b"GET":
            self._check_not_revoked(request.peer)
        return answer

    async def _authenticate(self, request: Request) -> bool:
        """Authenticate a request; return whether its client still waits for the answer."""
        if not self.is_open:
            context, needs_revocations = self.context, self.needs_revocations
            request.peer = await context.authenticate(request, needs_revocations=needs_revocations)
            # A token is enough to find out why the application fails.
            if context.asks_application and (needs_revocations or request.peer.identity is None):
                is_asked_later = self.is_asked_later(request)
                await context.ask_application(request, self.transport_of(request), is_asked_later=is_asked_later)
        return not request.is_disconnected

    def _check_not_revoked(self, peer: Peer) -> None:
        """Check that a credential was not revoked while its request was answered.

        :raises TokenRevoked: when it was.
        """
        if peer.identity is not None:
            self.context.authenticator.revocations.check(peer.identity)

    def _check_parameters(self, request: Request) -> None:
        token = {TOKEN_PARAMETER} if self.context.carriers.query_tokens else set()
        others = self.context.credential_parameters
        if request.method not in _SAFE:
            check_parameters(request, self.write_parameters | token, is_strict=True, credentials=others)
        elif self.parameters is not None:
            check_parameters(request, self.parameters | token, is_strict=False, credentials=others)

    async def _answer_other(self, request: Request) -> Answer:
        methods = self._methods
        if request.method == b"HEAD" and b"GET" in methods:
            if not await self._authenticate(request):
                return None
            self._check_parameters(request)
            return await self.head(request)
        allowed = b", ".join(sorted({*methods, b"OPTIONS", *([b"HEAD"] if b"GET" in methods else [])}))
        if request.method == b"OPTIONS":
            return self._preflight(request, allowed)
        request.setHeader(b"Allow", allowed)
        raise MethodNotAllowed("method is not allowed here; allowed: " + allowed.decode("ascii"))

    async def head(self, request: Request) -> Answer:
        """Answer HEAD, as GET unless a subclass overrides this."""
        return await self._methods[b"GET"](request)

    def _preflight(self, request: Request, allowed: bytes) -> Answer:
        request.setHeader(b"Allow", allowed)
        if request.hasAnswerHeader(b"Access-Control-Allow-Origin"):
            request.setHeader(b"Access-Control-Allow-Methods", allowed)
            request.setHeader(b"Access-Control-Allow-Headers", _REQUEST_HEADERS)
            request.setHeader(b"Access-Control-Max-Age", b"600")
        request.setResponseCode(204)
        return b""

    def _on_error(self, failure: Failure, request: Request) -> None:
        self.log.failure("{method} {path} failed", failure, method=request.method, path=request.path)
        self.context.counters.refusals[InternalError.code] += 1
        request.answer(render_refusal(request, InternalError("internal error; the log of the daemon has the details")))


class NotFoundResource(HttpResource):
    """The resource of all unknown URLs."""

    async def _answer(self, request: Request) -> Answer:
        self.context.open_cors(request)
        raise NotFound("there is no such address")

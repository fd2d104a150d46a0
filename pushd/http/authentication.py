"""The credentials of requests: where a token may stand (RFC 6750, section 2), and signed URLs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pushd.auth.signed_urls import SignedUrls
from pushd.auth.url_signature import SIGNATURE
from pushd.core.errors import BadRequest
from pushd.core.identity import Identity
from pushd.core.peer import NO_HEADERS
from pushd.http.origins import is_own_page
from pushd.http.query import parameter
from pushd.http.request import Request

_SCHEME: Final = b"bearer"
_SUBPROTOCOL: Final = b"bearer."
"""The prefix of the entry with the token in ``Sec-WebSocket-Protocol``, where browsers cannot send other headers."""
_AMBIENT: Final = ("cookie", "authorization")
"""The headers that browsers add to requests of any page."""
TOKEN_PARAMETER: Final = "token"
"""The parameter of the query with a token, if it is accepted there."""


class Credential(NamedTuple):
    """The token of a request."""

    token: str
    is_cookie: bool = False
    is_in_query: bool = False


@dataclass(frozen=True)
class Carriers:
    """Where requests may have their credential besides ``Authorization`` and the subprotocols of a WebSocket.

    :ivar cookie: the name of the cookie with a token; if empty, there is none.
    :ivar query_tokens: whether a token may be a parameter of the query, where logs and histories keep it.
    """

    cookie: str = "__Host-pushd"
    query_tokens: bool = False

    def credential_of(self, request: Request) -> Credential | None:
        """Return the credential of a request; None if it has none. A cookie counts only without another one.

        :raises BadRequest: when it has several.
        """
        authorization, offered = request.getHeader(b"authorization"), request.getHeader(b"sec-websocket-protocol")
        tokens, in_query = [] if authorization is None else _of_header(authorization), False
        if offered is not None:
            tokens += _of_subprotocols(offered)
        if self.query_tokens and (text := parameter(request, TOKEN_PARAMETER.encode("ascii"))) is not None:
            tokens.append(text)
            in_query = True
        if len(tokens) > 1:
            raise BadRequest("request must not have more than one credential")
        if tokens:
            return Credential(tokens[0], is_in_query=in_query)
        cookies = request.getHeader(b"cookie") if self.cookie else None
        cookie = None if cookies is None else _cookie(cookies, self.cookie.encode("ascii"))
        return None if cookie is None else Credential(cookie, is_cookie=True)


def is_signed(request: Request) -> bool:
    """Return whether a request has a signature in its URL, valid or not."""
    return request.query != b"" and SIGNATURE in request.args


async def identity_of_url(request: Request, signed_urls: SignedUrls, carriers: Carriers) -> Identity:
    """Return the identity of a request for a signed URL. No other address learns the URL from the answer.

    :raises BadRequest: when it has another credential; a cookie, which browsers send with every request, is ignored.
    :raises Refusal: see `SignedUrls.authenticate`.
    """
    request.setHeader(b"Referrer-Policy", b"no-referrer")
    other = carriers.credential_of(request)
    if other is not None and not other.is_cookie:
        raise BadRequest("request for a signed URL must not have another credential")
    path = b"/" + b"/".join([*request.prepath, *request.postpath])
    return await signed_urls.authenticate(request.method, path, request.args)


def forwarded_headers(request: Request, names: Iterable[str], allow_origins: Collection[str]) -> Mapping[str, str]:
    """Return the headers of a request that have these names, by the names as they are given.

    Those that browsers add for the user are left out when a page of a foreign origin may have sent the request.
    """
    origin, site = request.getHeader(b"origin"), request.getHeader(b"sec-fetch-site")
    if origin is None:
        is_foreign = site not in (None, b"same-origin", b"none")
    else:
        is_foreign = not is_own_page(origin, site, request.getHeader(b"host"), allow_origins)
    wanted = [name for name in names if not (is_foreign and name.lower() in _AMBIENT)]
    found = ((name, request.getHeader(name.lower().encode("ascii"))) for name in wanted)
    return {name: value.decode("latin-1") for name, value in found if value is not None} or NO_HEADERS


def _of_header(authorization: bytes) -> list[str]:
    """Return the tokens of ``Authorization``, whose lines are joined by commas; other schemes are ignored."""
    found = (line.split(None, 1) for line in authorization.split(b","))
    bearers = [words[1:] for words in found if words and words[0].lower() == _SCHEME]
    return [b"".join(words).strip().decode("latin-1") for words in bearers]


def _of_subprotocols(offered: bytes) -> list[str]:
    """Return the tokens among the offered subprotocols of a WebSocket."""
    entries = map(bytes.strip, offered.split(b","))
    return [entry.removeprefix(_SUBPROTOCOL).decode("latin-1") for entry in entries if entry.startswith(_SUBPROTOCOL)]


def _cookie(cookies: bytes, name: bytes) -> str | None:
    """Return the value of a cookie (RFC 6265, section 5.4); of several with that name the first."""
    for pair in cookies.split(b";"):
        key, equals, value = pair.partition(b"=")
        if equals and key.strip() == name:
            return value.strip().strip(b'"').decode("latin-1")
    return None

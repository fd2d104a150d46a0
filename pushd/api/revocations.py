"""Revocations of credentials, for operators."""

from typing import get_args

import msgspec

from pushd.core.errors import BadParameter
from pushd.core.json_input import decode
from pushd.core.revocations import KINDS, MAX_REASON_BYTES, MAX_VALUE_BYTES, Key, Kind, Revocation
from pushd.http.answers import json_answer
from pushd.http.query import parameter, require_no_subpath, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub

_MAX_BODY = 16 << 10
_MAX_LISTED = 1000


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    jti: str | None = None
    sub: str | None = None
    tag: str | None = None
    before: int | None = None
    reason: str = ""


_decoder = msgspec.json.Decoder(_Body)


class RevocationsResource(HttpResource):
    """``POST /auth/revocations``: revoke credentials. ``GET /auth/revocations?after=&limit=``: what is revoked."""

    parameters = frozenset({"after", "limit"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def max_body(self, request: Request) -> int:
        """Return the limit of a revocation."""
        return _MAX_BODY

    async def post(self, request: Request) -> Answer:
        """Revoke credentials."""
        require_no_subpath(request)
        body = decode(_decoder, request.body)
        key = _key_of(body)
        if len(body.reason.encode()) > MAX_REASON_BYTES or not body.reason.isprintable():
            raise BadParameter(f"reason must be printable text of at most {MAX_REASON_BYTES} bytes")
        revocation = await self._hub.revocations.revoke(request.peer, key, body.before, body.reason)
        request.setResponseCode(201)
        return json_answer(request, _facts(revocation))

    async def get(self, request: Request) -> Answer:
        """Answer with a page of revocations, sorted by what they name."""
        require_no_subpath(request)
        limit = whole_number(request, b"limit", 100, 1, _MAX_LISTED)
        found = self._hub.revocations.page(request.peer, _after(request), limit)
        return json_answer(request, [_facts(revocation) for revocation in found])


def _key_of(body: _Body) -> Key:
    """Return what a revocation names.

    :raises BadParameter: when it is not one thing, or invalid.
    """
    named: list[Key] = [(kind, value) for kind in KINDS if (value := getattr(body, kind)) is not None]
    if len(named) != 1:
        raise BadParameter("revocation must have exactly one of jti, sub and tag")
    kind, value = named[0]
    if not 0 < len(value.encode()) <= MAX_VALUE_BYTES:
        raise BadParameter(f"{kind} must have 1 to {MAX_VALUE_BYTES} bytes")
    return named[0]


def _after(request: Request) -> Key | None:
    """Return the key after which a page starts: the kind and the value, joined by a colon; None: at the first."""
    text = parameter(request, b"after")
    if text is None:
        return None
    word, colon, value = text.partition(":")
    for kind in get_args(Kind):
        if word == kind and colon:
            return kind, value
    raise BadParameter("after must be jti:, sub: or tag:, and what was revoked")


def _facts(revocation: Revocation) -> dict[str, object]:
    facts: dict[str, object] = {revocation.kind: revocation.value}
    return facts | {
        "before": revocation.before,
        "until": revocation.until,
        "created": revocation.created,
        "reason": revocation.reason,
    }

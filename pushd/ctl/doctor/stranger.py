"""What a client without a credential may do. The requests change nothing, whatever the answer is."""

import secrets
from collections.abc import Mapping
from enum import StrEnum
from http.client import HTTPException
from ipaddress import ip_address
from typing import NamedTuple

from pushd.ctl.api_client import ApiClient
from pushd.ctl.doctor.observation import Response
from pushd.ctl.doctor.probe_subscriber import read_response
from pushd.ctl.raw_connections import http_connection

_TIMEOUT_SECONDS = 30.0
_LONG_KEY = "x" * 256
"""An Idempotency-Key that is too long: the refusal of a publish that is allowed."""
_PUSHD_TYPES = ("application/json", "text/plain")
"""Content types of pushd's answers; a proxy's own page is HTML."""


class Level(StrEnum):
    """How much a note matters."""

    INFO = "info"
    WARNING = "warning"


class Note(NamedTuple):
    """What the operator should know, although nothing is broken."""

    level: Level
    text: str


class StrangerProbe(NamedTuple):
    """A request without a credential. It succeeds, or is refused with `allowed_code`, only if the action is allowed:
    pushd checks that first.

    :ivar path: contains ``{unused}`` in the place of a random name.
    """

    action: str
    method: str
    path: str
    query: Mapping[str, object] = {}
    headers: Mapping[str, str] = {}
    allowed_code: str = ""


STRANGER_PROBES = (
    StrangerProbe(
        "publish", "POST", "/pub/doctor/{unused}", {"ttl": 1}, {"Idempotency-Key": _LONG_KEY}, "bad-parameter"
    ),
    StrangerProbe("delete channels", "DELETE", "/pub/doctor/{unused}", allowed_code="unknown-channel"),
    StrangerProbe("list the channels", "GET", "/channels", {"limit": 1}),
    StrangerProbe("list the connections", "GET", "/connections", {"limit": 1}),
    StrangerProbe("close connections", "DELETE", "/connections/{unused}", allowed_code="unknown-connection"),
    StrangerProbe("read the history of all channels", "GET", "/history/**", {"limit": 1}),
    StrangerProbe("subscribe to all channels", "GET", "/cursor/**"),
    StrangerProbe("read the metrics", "GET", "/metrics"),
)
_QUERY_TOKEN = StrangerProbe("", "GET", "/cursor/doctor/{unused}", {"token": "doctor"})
"""A token that is not one: it is refused only if tokens in the query are accepted."""


class Permissions(NamedTuple):
    """What a client without a credential may do."""

    allowed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """The actions for which there was no answer of pushd, or only a temporary one."""
    is_loopback: bool = False
    """Whether the address can be reached from this machine only."""
    has_query_tokens: bool = False
    """Whether a token may be in the query. It can be seen only where authentication is on."""

    def notes(self) -> tuple[Note, ...]:
        """Return what the operator should know."""
        notes: list[Note] = []
        if self.is_loopback and self.allowed:
            notes.append(Note(Level.INFO, f"programs on this machine may, without a token: {', '.join(self.allowed)}"))
        elif self.allowed:
            notes += [Note(Level.WARNING, f"anyone may {action}, without a token") for action in self.allowed]
        if self.has_query_tokens:
            text = "tokens are accepted in the query, where logs keep them: auth.query_tokens is on"
            notes.append(Note(Level.WARNING, text))
        if self.unknown:
            notes.append(Note(Level.INFO, f"no answer to whether anyone may {', '.join(self.unknown)}"))
        return tuple(notes)


def find_permissions(api: ApiClient) -> Permissions:
    """Return what a client without a credential may do at an address."""
    outcomes = {probe.action: _is_allowed(probe, _request(api, probe)) for probe in STRANGER_PROBES}
    return Permissions(
        tuple(action for action, is_allowed in outcomes.items() if is_allowed),
        tuple(action for action, is_allowed in outcomes.items() if is_allowed is None),
        is_loopback(api),
        _request(api, _QUERY_TOKEN).code == "token-invalid",
    )


def is_loopback(api: ApiClient) -> bool:
    """Return whether the address leads to this machine without a network."""
    connection = http_connection(api.address, _TIMEOUT_SECONDS)
    try:
        connection.connect()
        return ip_address(connection.sock.getpeername()[0].partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False
    finally:
        connection.close()


def _is_allowed(probe: StrangerProbe, response: Response) -> bool | None:
    """Return whether an action is allowed; None if the response does not say."""
    if response.status == 0 or response.status == 429 or response.status >= 500:
        return None
    if response.code:
        return response.code == probe.allowed_code
    return 200 <= response.status < 300


def _request(api: ApiClient, probe: StrangerProbe) -> Response:
    """Send a request, without a credential."""
    path = probe.path.replace("{unused}", secrets.token_hex(16))
    connection = http_connection(api.address, _TIMEOUT_SECONDS)
    try:
        connection.request(probe.method, api.address.target(path, probe.query), headers=dict(probe.headers))
        response = connection.getresponse()
        if response.status < 300 and response.headers.get_content_type() not in _PUSHD_TYPES:
            return Response(404)
        return read_response(response, 0.0)
    except (OSError, HTTPException) as error:
        return Response(0, error=str(error))
    finally:
        connection.close()

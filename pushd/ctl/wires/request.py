"""The request of a subscription, for another transport."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlencode

from pushd.client.core.interface import HttpRequest

_CURSOR_HEADER = "Last-Event-ID"


def for_transport(request: HttpRequest, name: str, **parameters: object) -> HttpRequest:
    """Return a request for ``/sse/TOPICS``, changed to another transport.

    :param name: as in the path of the transport.
    :param parameters: query parameters; those that are None are removed.
    """
    path, _, query = request.target.partition("?")
    prefix, _, topics = path.rpartition("/sse/")
    if name == "sse" or not topics:
        raise ValueError(f"request must be for /sse/ (got {request.target!r})")
    changed: dict[str, object] = dict(parse_qsl(query)) | {"format": None} | parameters
    kept = {key: value for key, value in changed.items() if value is not None}
    target = f"{prefix}/{name}/{topics}" + (f"?{urlencode(kept)}" if kept else "")
    return replace(request, target=target, headers={**request.headers, "Accept": "*/*"})


def with_cursor(request: HttpRequest, **parameters: object) -> HttpRequest:
    """Return a request for a poll, whose cursor is a query parameter; `parameters` are set, too."""
    headers = {name: value for name, value in request.headers.items() if name != _CURSOR_HEADER}
    return for_transport(replace(request, headers=headers), "longpoll", slow=None, responder=None, **parameters)


def topics_of(request: HttpRequest) -> str:
    """Return the topics of a request for ``/sse/``."""
    return unquote(request.target.partition("?")[0].rpartition("/sse/")[2])


def parameters_of(request: HttpRequest) -> Mapping[str, str]:
    """Return the query parameters of a request; ``since`` is the cursor, where there is one."""
    parameters = dict(parse_qsl(request.target.partition("?")[2]))
    cursor = request.headers.get(_CURSOR_HEADER)
    return parameters if cursor is None else parameters | {"since": cursor}


def token_of(request: HttpRequest) -> str | None:
    """Return the token of a request."""
    authorization = request.headers.get("Authorization")
    return None if authorization is None else authorization.removeprefix("Bearer ")

"""The body of a request as the data of a message, and its content type."""

from pushd.core.errors import BadRequest
from pushd.core.media_type import essence
from pushd.http.refusals import UnsupportedType
from pushd.http.request import Request

_CURL_DEFAULT = "application/x-www-form-urlencoded"
"""The content type that curl sends by default, which says nothing about the data."""


def content_type_of(request: Request) -> str:
    """Return the content type; empty if there is none."""
    return (request.getHeader(b"content-type") or b"").decode("latin-1")


def type_of_data(request: Request) -> str | None:
    """Return the content type of the data; None if the request does not say it."""
    content_type = content_type_of(request)
    return content_type if content_type and essence(content_type) != _CURL_DEFAULT else None


def check_body_is_data(request: Request) -> None:
    """Check that the body is the data itself.

    :raises UnsupportedType: when it has a content coding (RFC 9110, section 8.4).
    :raises BadRequest: when it is only a part of the data (RFC 9110, section 14.5).
    """
    coding = request.getHeader(b"content-encoding")
    if coding and any(each.strip().lower() != b"identity" for each in coding.split(b",")):
        request.setHeader(b"Accept-Encoding", b"identity")
        raise UnsupportedType("body must be sent without Content-Encoding")
    if request.getHeader(b"content-range") is not None:
        raise BadRequest("body must be the whole message, without Content-Range")

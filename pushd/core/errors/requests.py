"""Refusals of requests and of replies to them."""

from pushd.core.errors.refusal import Refusal


class NoResponders(Refusal):
    """No subscriber of the channel could answer the request."""

    code = "no-responders"
    status = 503
    retry_after = 1


class NoReply(Refusal):
    """The request was not answered in time, or everyone who could answer it has disconnected."""

    code = "no-reply"
    status = 504


class NoRequest(Refusal):
    """No request waits for the reply: it was answered before, has timed out, or there was none."""

    code = "no-request"
    status = 410


class TooManyRequests(Refusal):
    """As many requests as one connection, or all together, may have are waiting for replies."""

    code = "too-many-requests"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 1

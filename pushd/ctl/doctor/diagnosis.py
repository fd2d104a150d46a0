"""The diagnosis: from observations to problems. Pure: no sockets and no clock."""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from pushd.ctl.doctor.observation import Observation, PublishTimes, Response

PUBLISHED_STATUSES = (201, 202)
"""Statuses of a successful publish."""
_MAX_LIVE_SECONDS = 0.35
"""Maximum delay of a live message: above the 200 ms that TCP may delay a packet, below the publish interval."""
_MAX_HISTORY_SECONDS = 1.0
"""Maximum time to open a connection and receive the history, or to be refused."""
_MAX_DELAY_SECONDS = 0.1
"""Maximum for the shortest of several delays; Nagle's algorithm delays a packet by 40 to 200 ms."""
_CLOSE_WINDOW_SECONDS = 0.5
"""Bytes that arrive within this time of the close were flushed by it, and did not keep the connection open."""


class ProblemKind(StrEnum):
    """The kinds of problems that a proxy can cause."""

    BUFFERED = "buffered"
    LATE = "late"
    CUT = "cut"
    UPGRADE = "upgrade"
    HOST = "host"
    BODY = "body"
    PATH = "path"
    UNREACHED = "unreached"
    ADDRESS = "address"
    REFUSED = "refused"


_OUTCOMES = {
    ProblemKind.BUFFERED: "buffered",
    ProblemKind.LATE: "late",
    ProblemKind.CUT: "cut",
    ProblemKind.ADDRESS: "hidden",
}


class Problem(NamedTuple):
    """A problem of one check."""

    kind: ProblemKind
    text: str

    @property
    def outcome(self) -> str:
        """The outcome in one word, as reported to the user."""
        return _OUTCOMES.get(self.kind, "refused")


def diagnose(observation: Observation, times: PublishTimes) -> list[Problem]:
    """Return the problems of a transport that was subscribed."""
    response = observation.response
    if response is None:
        return [
            Problem(ProblemKind.BUFFERED, "not even the response headers arrived, not even after the stream had ended")
        ]
    if response.status == 504 and not observation.is_websocket:
        return [
            Problem(ProblemKind.BUFFERED, "504: the proxy waits for the end of the response, and a stream has none")
        ]
    if response.status != (101 if observation.is_websocket else 200):
        problems = [refusal_problem(response, is_websocket=observation.is_websocket)]
    elif observation.content_type == "text/html":
        problems = [Problem(ProblemKind.PATH, f"{response.status}, but HTML: the proxy does not forward this path")]
    else:
        problems = _stream_problems(observation, times)
    return [_HOST_PROBLEM, *problems] if observation.is_origin_refused and response.status != 403 else problems


def refusal_problem(response: Response, *, is_websocket: bool = False) -> Problem:
    """Return the problem that a refusal indicates."""
    status = response.status
    if not status:
        return Problem(ProblemKind.REFUSED, response.error)
    if is_websocket and (status in (200, 400, 426) or response.code == "upgrade-required"):
        return Problem(ProblemKind.UPGRADE, f"{status}: the proxy does not forward the Upgrade and Connection headers")
    if response.code == "unknown-host":
        return Problem(
            ProblemKind.REFUSED, f"{status} from pushd itself: add the Host that the proxy sends to pushd's http.hosts"
        )
    if response.code:
        hint = "; pushctl needs another token (--token-file)" if status == 401 or response.code == "forbidden" else ""
        return Problem(ProblemKind.REFUSED, f"{status} from pushd itself: {response.code}{hint}")
    return _BY_STATUS.get(status, Problem(ProblemKind.REFUSED, f"unexpected status {status}"))


def diagnose_publish(responses: Sequence[Response], later_refusal: Response | None = None) -> list[Problem]:
    """Return the problems of publishing.

    :param responses: to a request with an ``Origin`` header; if that was refused, also to one without.
    :param later_refusal: response to a later request, if it was refused although the first one was accepted.
    """
    first, *rest = responses
    if first.status in PUBLISHED_STATUSES:
        return [refusal_problem(later_refusal)] if later_refusal else []
    if first.status == 403 and first.code == "forbidden" and rest and rest[0].status in PUBLISHED_STATUSES:
        return [_HOST_PROBLEM]
    return [refusal_problem(rest[0] if rest else first)]


def diagnose_body(response: Response, size: int) -> list[Problem]:
    """Return the problems of a large body, given that small ones pass.

    A refusal by pushd itself is not the proxy's problem. Some proxies respond with 502 instead of 413.
    """
    if response.code or 0 < response.status < 300:
        return []
    return [
        Problem(
            ProblemKind.BODY,
            f"{response.status or response.error}: body of {size >> 20} MiB is too large for the proxy",
        )
    ]


def diagnose_addresses(seen: set[str], local: set[str]) -> list[Problem]:
    """Return the problem that pushd takes the proxy for its client, if it does.

    A public address that is not local may be that of a NAT router on our side, and is no problem.

    :param seen: client addresses as pushd sees them.
    :param local: local addresses of the same connections.
    """
    foreign = {each for each in map(_normalize, seen) if each not in set(map(_normalize, local)) and each.is_private}
    if not foreign:
        return []
    names = ", ".join(sorted(map(str, foreign)))
    return [
        Problem(
            ProblemKind.ADDRESS,
            f"pushd takes {names} for its client: X-Forwarded-For is not forwarded, or not trusted",
        )
    ]


def min_delay(observation: Observation, times: PublishTimes) -> float | None:
    """Return the shortest delay of a live message in seconds; None if none arrived."""
    delays = [observation.received[marker] - at for marker, at in times.live.items() if marker in observation.received]
    return max(0.0, min(delays)) if delays else None


def _normalize(address: str) -> IPv4Address | IPv6Address:
    found = ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _stream_problems(observation: Observation, times: PublishTimes) -> list[Problem]:
    if (
        observation.closed_at is not None
        and observation.closed_at < observation.requested_at + _MAX_HISTORY_SECONDS
        and not observation.received
    ):
        return [
            Problem(
                ProblemKind.REFUSED,
                f"{observation.close_reason} at once without data, as for clients that are asked to retry later",
            )
        ]
    buffering = _buffering_problem(observation, times)
    if buffering and observation.closed_at is None:
        return [buffering]
    return [
        problem
        for problem in (buffering or _delay_problem(observation, times), _cut_problem(observation, times))
        if problem
    ]


def _buffering_problem(observation: Observation, times: PublishTimes) -> Problem | None:
    end = observation.closed_at if observation.closed_at is not None else times.last_at
    awaited, limit = times.live, _MAX_LIVE_SECONDS
    if all(at + limit > end for at in awaited.values()):
        awaited, limit = {times.history_marker: observation.requested_at}, _MAX_HISTORY_SECONDS
    delays = [observation.received[marker] - at for marker, at in awaited.items() if marker in observation.received]
    if delays and min(delays) <= limit:
        return None
    by = f" by its {observation.content_encoding} compression" if observation.content_encoding else ""
    if not delays:
        return Problem(ProblemKind.BUFFERED, f"messages are buffered{by} and never arrive")
    first = min(observation.received[marker] for marker in awaited if marker in observation.received)
    if first >= times.last_at:
        return Problem(ProblemKind.BUFFERED, f"messages are buffered{by} until the stream ends")
    if observation.closed_at is not None and first > observation.closed_at - _CLOSE_WINDOW_SECONDS:
        return Problem(ProblemKind.BUFFERED, f"messages are buffered{by} until the proxy closes the connection")
    return Problem(
        ProblemKind.BUFFERED,
        f"messages are buffered{by} until more data has accumulated, for at least {min(delays):.1f} s",
    )


def _delay_problem(observation: Observation, times: PublishTimes) -> Problem | None:
    least = min_delay(observation, times)
    if least is None or least <= _MAX_DELAY_SECONDS:
        return None
    return Problem(ProblemKind.LATE, f"each single message is delayed by {least * 1000:.0f} ms")


def _cut_problem(observation: Observation, times: PublishTimes) -> Problem | None:
    if observation.closed_at is None or observation.closed_at >= times.last_at:
        if times.last_marker is None or times.last_marker in observation.received:
            return None
        return Problem(
            ProblemKind.CUT,
            f"after {times.idle:.0f} s of silence nothing arrives any more, although the connection is open",
        )
    activity = [*times.live.values(), *observation.activity]
    silence = observation.closed_at - max(
        [observation.requested_at, *(at for at in activity if at < observation.closed_at - _CLOSE_WINDOW_SECONDS)]
    )
    lifetime = observation.closed_at - observation.requested_at
    return Problem(
        ProblemKind.CUT,
        f"{observation.close_reason} after {silence:.0f} s of silence, {lifetime:.0f} s after the request",
    )


_HOST_PROBLEM = Problem(
    ProblemKind.HOST, "403 for a page of this address: the proxy does not forward the original Host header"
)
_BY_STATUS = {
    **{
        status: Problem(ProblemKind.REFUSED, f"{status}: the proxy redirects to another address: check that one")
        for status in (301, 302, 307, 308)
    },
    401: Problem(ProblemKind.REFUSED, "401: the proxy asks for a password"),
    403: Problem(ProblemKind.REFUSED, "403: the proxy forbids it"),
    404: Problem(ProblemKind.PATH, "404, not from pushd: the proxy does not forward this path"),
    405: Problem(ProblemKind.REFUSED, "405: the proxy does not allow this method"),
    408: Problem(ProblemKind.REFUSED, "408: the proxy timed out waiting for the request"),
    413: Problem(ProblemKind.BODY, "413: the body is too large for the proxy"),
    429: Problem(ProblemKind.REFUSED, "429: the proxy limits requests or connections"),
    502: Problem(ProblemKind.UNREACHED, "502: the proxy cannot reach pushd"),
    503: Problem(ProblemKind.UNREACHED, "503: the proxy has no available backend, or limits requests or connections"),
    504: Problem(ProblemKind.UNREACHED, "504: pushd did not respond to the proxy in time"),
}

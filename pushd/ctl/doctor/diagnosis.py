"""From what was seen to what is wrong. Pure: no sockets and no clock."""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from pushd.ctl.doctor.observation import Observation, PublishTimes, Response

PUBLISHED_STATUSES = (201, 202)
"""As pushd answers who publishes."""
_MAX_LIVE_SECONDS = 0.35
"""More than the 200 ms for which a packet may wait by itself, and less than the time until the next message."""
_MAX_HISTORY_SECONDS = 1.0
"""Nobody needs more to open a connection and to hear what is in the history, or to be sent away."""
_MAX_DELAY_SECONDS = 0.1
"""The least of several delays; a packet that waits for an acknowledgement waits for 200 ms, or 40 at the least."""
_CLOSE_WINDOW_SECONDS = 0.5
"""Bytes that come this shortly before the end are what was held back, not what kept it open."""


class ProblemKind(StrEnum):
    """What a proxy does wrong."""

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
    """What is wrong with a technique."""

    kind: ProblemKind
    text: str

    @property
    def outcome(self) -> str:
        """What happens to the technique, in a word."""
        return _OUTCOMES.get(self.kind, "refused")


def diagnose(observation: Observation, times: PublishTimes) -> list[Problem]:
    """Tell what is wrong with a technique that listened."""
    response = observation.response
    if response is None:
        return [Problem(ProblemKind.BUFFERED, "not even the headers came, until the end and behind it")]
    if response.status == 504 and not observation.is_websocket:
        return [Problem(ProblemKind.BUFFERED, "504: the proxy waits for the end of an answer, and there is none")]
    if response.status != (101 if observation.is_websocket else 200):
        problems = [refusal_problem(response, is_websocket=observation.is_websocket)]
    elif observation.content_type == "text/html":
        problems = [Problem(ProblemKind.PATH, f"{response.status}, but a page: the proxy does not hand this path on")]
    else:
        problems = _stream_problems(observation, times)
    return [_HOST_PROBLEM, *problems] if observation.is_origin_refused and response.status != 403 else problems


def refusal_problem(response: Response, *, is_websocket: bool = False) -> Problem:
    """Tell what a refusal means."""
    status = response.status
    if not status:
        return Problem(ProblemKind.REFUSED, response.error)
    if is_websocket and (status in (200, 400, 426) or response.code == "upgrade-required"):
        return Problem(ProblemKind.UPGRADE, f"{status}: the headers Upgrade and Connection do not arrive")
    if response.code:
        return Problem(ProblemKind.REFUSED, f"{status} by pushd itself: {response.code}")
    return _BY_STATUS.get(status, Problem(ProblemKind.REFUSED, f"{status}, which is not what pushd answers"))


def diagnose_publish(responses: Sequence[Response], later_refusal: Response | None = None) -> list[Problem]:
    """Tell what is wrong with publishing.

    :param answers: to a request with the page's ``Origin``; where it was refused, also without it.
    :param later_refusal: of one like that which had been accepted.
    """
    first, *rest = responses
    if first.status in PUBLISHED_STATUSES:
        return [refusal_problem(later_refusal)] if later_refusal else []
    if first.status == 403 and first.code == "forbidden" and rest and rest[0].status in PUBLISHED_STATUSES:
        return [_HOST_PROBLEM]
    return [refusal_problem(rest[0] if rest else first)]


def diagnose_body(response: Response, size: int) -> list[Problem]:
    """Tell what is wrong with a large body, where small ones pass.

    What pushd itself refuses, it refuses without a proxy too. There are proxies that answer 502 in place of 413.
    """
    if response.code or 0 < response.status < 300:
        return []
    return [
        Problem(
            ProblemKind.BODY,
            f"{response.status or response.error}: a body of {size >> 20} MiB is too large for the proxy",
        )
    ]


def diagnose_addresses(seen: set[str], local: set[str]) -> list[Problem]:
    """Tell whether pushd takes the proxy for its client.

    A public address that is not our own may be that of our way to the outside.

    :param known: by which pushd knows this end.
    :param own: of this end of the connections.
    """
    foreign = {each for each in map(_normalize, seen) if each not in set(map(_normalize, local)) and each.is_private}
    if not foreign:
        return []
    names = ", ".join(sorted(map(str, foreign)))
    return [
        Problem(
            ProblemKind.ADDRESS,
            f"pushd takes {names} for its client: X-Forwarded-For does not arrive, or is not trusted",
        )
    ]


def min_delay(observation: Observation, times: PublishTimes) -> float | None:
    """Give how long a message takes at the least, in seconds; None where none came."""
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
                f"{observation.close_reason} at once with nothing said, as to who is to come back later",
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
        return Problem(ProblemKind.BUFFERED, f"messages are held back{by}, and do not come at all")
    first = min(observation.received[marker] for marker in awaited if marker in observation.received)
    if first >= times.last_at:
        return Problem(ProblemKind.BUFFERED, f"messages are held back{by} until the stream ends")
    if observation.closed_at is not None and first > observation.closed_at - _CLOSE_WINDOW_SECONDS:
        return Problem(ProblemKind.BUFFERED, f"messages are held back{by} until the proxy closes")
    return Problem(
        ProblemKind.BUFFERED, f"messages are held back{by} until more has gathered, {min(delays):.1f} s at the least"
    )


def _delay_problem(observation: Observation, times: PublishTimes) -> Problem | None:
    least = min_delay(observation, times)
    if least is None or least <= _MAX_DELAY_SECONDS:
        return None
    return Problem(ProblemKind.LATE, f"each message that comes alone waits for {least * 1000:.0f} ms")


def _cut_problem(observation: Observation, times: PublishTimes) -> Problem | None:
    if observation.closed_at is None or observation.closed_at >= times.last_at:
        if times.last_marker is None or times.last_marker in observation.received:
            return None
        return Problem(
            ProblemKind.CUT, f"after {times.idle:.0f} s of silence nothing comes any more, and nobody says so"
        )
    activity = [*times.live.values(), *observation.activity]
    silence = observation.closed_at - max(
        [observation.requested_at, *(at for at in activity if at < observation.closed_at - _CLOSE_WINDOW_SECONDS)]
    )
    lifetime = observation.closed_at - observation.requested_at
    return Problem(
        ProblemKind.CUT,
        f"{observation.close_reason} after {silence:.0f} s of silence, {lifetime:.0f} s after it was asked for",
    )


_HOST_PROBLEM = Problem(ProblemKind.HOST, "403 for a page of this address: the Host that it asked for does not arrive")
_BY_STATUS = {
    **{
        status: Problem(
            ProblemKind.REFUSED, f"{status}: the proxy sends to another address, which is the one to examine"
        )
        for status in (301, 302, 307, 308)
    },
    401: Problem(ProblemKind.REFUSED, "401: the proxy asks for a password"),
    403: Problem(ProblemKind.REFUSED, "403: the proxy forbids it"),
    404: Problem(ProblemKind.PATH, "404, not by pushd: the proxy does not hand this path on"),
    405: Problem(ProblemKind.REFUSED, "405: the proxy does not let this method pass"),
    408: Problem(ProblemKind.REFUSED, "408: the proxy did not wait for the request"),
    413: Problem(ProblemKind.BODY, "413: the body is too large for the proxy"),
    429: Problem(ProblemKind.REFUSED, "429: the proxy limits requests or connections"),
    502: Problem(ProblemKind.UNREACHED, "502: the proxy does not reach pushd"),
    503: Problem(
        ProblemKind.UNREACHED, "503: the proxy has nobody to hand it on to, or limits requests or connections"
    ),
    504: Problem(ProblemKind.UNREACHED, "504: pushd does not answer the proxy in time"),
}

"""From what was seen to what is wrong. Pure: no sockets and no clock."""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from pushd.ctl.doctor.observation import Answer, Course, Published

PUBLISHED = (201, 202)
"""As pushd answers who publishes."""
_HELD_SECONDS = 0.35
"""More than the 200 ms for which a packet may wait by itself, and less than the time until the next message."""
_SLOW_SECONDS = 1.0
"""Nobody needs more to open a connection and to hear what is in the history, or to be sent away."""
_LATE_SECONDS = 0.1
"""The least of several delays; a packet that waits for an acknowledgement waits for 200 ms, or 40 at the least."""
_TOGETHER_SECONDS = 0.5
"""Bytes that come this shortly before the end are what was held back, not what kept it open."""


class Kind(StrEnum):
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


_WORDS = {Kind.BUFFERED: "buffered", Kind.LATE: "late", Kind.CUT: "cut", Kind.ADDRESS: "hidden"}


class Fault(NamedTuple):
    """What is wrong with a technique."""

    kind: Kind
    text: str

    @property
    def word(self) -> str:
        """What happens to the technique, in a word."""
        return _WORDS.get(self.kind, "refused")


def judge(course: Course, published: Published) -> list[Fault]:
    """Tell what is wrong with a technique that listened."""
    answer = course.answer
    if answer is None:
        return [Fault(Kind.BUFFERED, "not even the headers came, until the end and behind it")]
    if answer.status == 504 and not course.is_websocket:
        return [Fault(Kind.BUFFERED, "504: the proxy waits for the end of an answer, and there is none")]
    if answer.status != (101 if course.is_websocket else 200):
        faults = [refused(answer, is_websocket=course.is_websocket)]
    elif course.kind == "text/html":
        faults = [Fault(Kind.PATH, f"{answer.status}, but a page: the proxy does not hand this path on")]
    else:
        faults = _on_the_way(course, published)
    return [_OTHER_HOST, *faults] if course.is_origin_refused and answer.status != 403 else faults


def refused(answer: Answer, *, is_websocket: bool = False) -> Fault:
    """Tell what a refusal means."""
    status = answer.status
    if not status:
        return Fault(Kind.REFUSED, answer.error)
    if is_websocket and (status in (200, 400, 426) or answer.code == "upgrade-required"):
        return Fault(Kind.UPGRADE, f"{status}: the headers Upgrade and Connection do not arrive")
    if answer.code:
        return Fault(Kind.REFUSED, f"{status} by pushd itself: {answer.code}")
    return _BY_STATUS.get(status, Fault(Kind.REFUSED, f"{status}, which is not what pushd answers"))


def judge_writing(answers: Sequence[Answer], later_refusal: Answer | None = None) -> list[Fault]:
    """Tell what is wrong with publishing.

    :param answers: to a request with the page's ``Origin``; where it was refused, also without it.
    :param later_refusal: of one like that which had been accepted.
    """
    first, *rest = answers
    if first.status in PUBLISHED:
        return [refused(later_refusal)] if later_refusal else []
    if first.status == 403 and first.code == "forbidden" and rest and rest[0].status in PUBLISHED:
        return [_OTHER_HOST]
    return [refused(rest[0] if rest else first)]


def judge_body(answer: Answer, size: int) -> list[Fault]:
    """Tell what is wrong with a large body, where small ones pass.

    What pushd itself refuses, it refuses without a proxy too. There are proxies that answer 502 in place of 413.
    """
    if answer.code or 0 < answer.status < 300:
        return []
    return [Fault(Kind.BODY, f"{answer.status or answer.error}: a body of {size >> 20} MiB is too large for the proxy")]


def judge_addresses(known: set[str], own: set[str]) -> list[Fault]:
    """Tell whether pushd takes the proxy for its client.

    A public address that is not our own may be that of our way to the outside.

    :param known: by which pushd knows this end.
    :param own: of this end of the connections.
    """
    strange = {each for each in map(_plain, known) if each not in set(map(_plain, own)) and each.is_private}
    if not strange:
        return []
    names = ", ".join(sorted(map(str, strange)))
    return [
        Fault(Kind.ADDRESS, f"pushd takes {names} for its client: X-Forwarded-For does not arrive, or is not trusted")
    ]


def delay(course: Course, published: Published) -> float | None:
    """Give how long a message takes at the least, in seconds; None where none came."""
    delays = [course.heard[word] - at for word, at in published.live.items() if word in course.heard]
    return max(0.0, min(delays)) if delays else None


def _plain(address: str) -> IPv4Address | IPv6Address:
    found = ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _on_the_way(course: Course, published: Published) -> list[Fault]:
    if course.closed is not None and course.closed < course.asked + _SLOW_SECONDS and not course.heard:
        return [Fault(Kind.REFUSED, f"{course.end} at once with nothing said, as to who is to come back later")]
    held = _held(course, published)
    if held and course.closed is None:
        return [held]
    return [fault for fault in (held or _late(course, published), _cut(course, published)) if fault]


def _held(course: Course, published: Published) -> Fault | None:
    until = course.closed if course.closed is not None else published.last
    awaited, most = published.live, _HELD_SECONDS
    if all(at + most > until for at in awaited.values()):
        awaited, most = {published.before: course.asked}, _SLOW_SECONDS
    came = [course.heard[word] - at for word, at in awaited.items() if word in course.heard]
    if came and min(came) <= most:
        return None
    by = f" by its {course.coding} compression" if course.coding else ""
    if not came:
        return Fault(Kind.BUFFERED, f"messages are held back{by}, and do not come at all")
    first = min(course.heard[word] for word in awaited if word in course.heard)
    if first >= published.last:
        return Fault(Kind.BUFFERED, f"messages are held back{by} until the stream ends")
    if course.closed is not None and first > course.closed - _TOGETHER_SECONDS:
        return Fault(Kind.BUFFERED, f"messages are held back{by} until the proxy closes")
    return Fault(Kind.BUFFERED, f"messages are held back{by} until more has gathered, {min(came):.1f} s at the least")


def _late(course: Course, published: Published) -> Fault | None:
    least = delay(course, published)
    if least is None or least <= _LATE_SECONDS:
        return None
    return Fault(Kind.LATE, f"each message that comes alone waits for {least * 1000:.0f} ms")


def _cut(course: Course, published: Published) -> Fault | None:
    if course.closed is None or course.closed >= published.last:
        if published.last_word is None or published.last_word in course.heard:
            return None
        return Fault(Kind.CUT, f"after {published.idle:.0f} s of silence nothing comes any more, and nobody says so")
    spoken = [*published.live.values(), *course.arrivals]
    quiet = course.closed - max([course.asked, *(at for at in spoken if at < course.closed - _TOGETHER_SECONDS)])
    life = course.closed - course.asked
    return Fault(Kind.CUT, f"{course.end} after {quiet:.0f} s of silence, {life:.0f} s after it was asked for")


_OTHER_HOST = Fault(Kind.HOST, "403 for a page of this address: the Host that it asked for does not arrive")
_BY_STATUS = {
    **{
        status: Fault(Kind.REFUSED, f"{status}: the proxy sends to another address, which is the one to examine")
        for status in (301, 302, 307, 308)
    },
    401: Fault(Kind.REFUSED, "401: the proxy asks for a password"),
    403: Fault(Kind.REFUSED, "403: the proxy forbids it"),
    404: Fault(Kind.PATH, "404, not by pushd: the proxy does not hand this path on"),
    405: Fault(Kind.REFUSED, "405: the proxy does not let this method pass"),
    408: Fault(Kind.REFUSED, "408: the proxy did not wait for the request"),
    413: Fault(Kind.BODY, "413: the body is too large for the proxy"),
    429: Fault(Kind.REFUSED, "429: the proxy limits requests or connections"),
    502: Fault(Kind.UNREACHED, "502: the proxy does not reach pushd"),
    503: Fault(Kind.UNREACHED, "503: the proxy has nobody to hand it on to, or limits requests or connections"),
    504: Fault(Kind.UNREACHED, "504: pushd does not answer the proxy in time"),
}

"""The URLs from which pages subscribe: an EventSource, an image or a WebSocket, which cannot send a token."""

import re
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from .key_material import Secret
from .url_signature import DEFAULT_EXP, UrlKey, sign_url

DEFAULT_UNTIL: Final = timedelta(hours=8)
"""For so long a page may reconnect: a working day."""
SUBJECT: Final = "{sub}"
"""Stands for the subject in a topic, as it does in a grant."""
_NO_SEGMENT: Final = re.compile(r"[/*,?#\\\s\x00-\x1f\x7f]")
_FALLBACK_SECONDS: Final = 2.0


@dataclass(frozen=True)
class SourceUrls:
    """Makes URLs that subscribe to topics."""

    public_url: str
    """The address of the daemon as browsers see it, without a slash at the end: ``https://push.example.org``, or
    ``https://example.org/push`` or ``/push`` behind a proxy, which removes the path before it passes requests on."""
    key: UrlKey | tuple[str, Secret] | None = None
    """Signs the URLs; None: they are not signed, and the daemon decides what an anonymous peer may do."""
    exp: timedelta = DEFAULT_EXP
    """How long after the page was rendered it may connect first."""
    until: timedelta = DEFAULT_UNTIL
    """How long after the page was rendered it may reconnect. Then it receives the event ``expired``."""

    def url(
        self,
        topics: str | Iterable[str],
        *,
        since: str | None = None,
        sub: str | int | None = None,
        resource: str = "sse",
        **parameters: object,
    ) -> str:
        """Return a URL that subscribes to topics. It can stand in HTML and in a string of JavaScript without escaping.

        :param topics: channels and patterns, in which ``{sub}`` stands for the subject.
        :param since: where to begin, such as the cursor from before the page read its data; None: when it connects.
        :param sub: the subject, such as the primary key of the user.
        :param resource: ``sse``, ``stream``, ``ws`` … of docs/protocol.md of pushd.
        :param parameters: further parameters of the URL, such as ``slow``; those that are None are left out.
        :raises ValueError: when a topic is empty, or needs a subject that there is not.
        """
        subject = None if sub in (None, "") else str(sub)
        each = [topics] if isinstance(topics, str) else topics
        path = ",".join(quote(_topic(topic, subject), "/*,") for topic in each)
        if not path:
            raise ValueError("topics must not be empty")
        query = urlencode({name: value for name, value in {"since": since, **parameters}.items() if value is not None})
        url = f"{self.public_url}/{quote(resource)}/{path}{'?' if query else ''}{query}"
        if self.key is None:
            return url
        mount = urlsplit(self.public_url).path
        return sign_url(url, self.key, exp=self.exp, until=max(self.exp, self.until), sub=subject, mount=mount)


def fallback_since() -> str:
    """Return where a page begins if the daemon cannot be asked for its cursor: two seconds ago, by this clock."""
    return f"{time.time() - _FALLBACK_SECONDS:.3f}"


def _topic(topic: str, subject: str | None) -> str:
    """Return a topic with its subject.

    :raises ValueError: when it is empty, or the subject is none or not one segment of a topic.
    """
    if not topic:
        raise ValueError("topic must not be empty")
    if SUBJECT not in topic:
        return topic
    if subject is None:
        raise ValueError(f"topic {topic} must have a subject: nobody is logged in, or sub is not given")
    if not _is_segment(subject):
        raise ValueError(
            f"subject must be one segment of a topic, without / * , ? # \\ and white space (got {subject!r})"
        )
    return topic.replace(SUBJECT, subject)


def _is_segment(subject: str) -> bool:
    return (
        not _NO_SEGMENT.search(subject)
        and subject not in (".", "..")
        and not subject.startswith("$")
        and unicodedata.is_normalized("NFC", subject)
    )

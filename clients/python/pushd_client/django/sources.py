"""The URLs from which pages subscribe."""

import logging
from collections.abc import Iterable

from ..errors import PushdError
from ..source_urls import fallback_since
from .apps import current_settings

logger = logging.getLogger("pushd_client.django")


def cursor() -> str:
    """Return the cursor of the present, as `since` of `source_url` or of the template tag.

    A view calls it before it reads from the database: then its page misses nothing that is published while it is
    rendered. If the daemon does not answer, the error is logged, and a time of two seconds ago is returned.
    """
    try:
        present = current_settings()
        with present.reaching(present.cursor_client) as client:
            return client.cursor()
    except (PushdError, OSError) as error:
        logger.error("Page is rendered without a cursor, and subscribes from two seconds ago: %s", error)
        return fallback_since()


def source_url(
    topics: str | Iterable[str],
    *,
    since: str | None = None,
    sub: str | int | None = None,
    resource: str = "sse",
    **parameters: object,
) -> str:
    """Return a signed URL for an EventSource, which begins at `since` or now. See `SourceUrls.url`."""
    begin = cursor() if since is None else since
    return current_settings().sources.url(topics, since=begin, sub=sub, resource=resource, **parameters)

"""``{% load pushd %}``: the tag ``pushd_source``."""

from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString, mark_safe

from ..sources import source_url

register = template.Library()


@register.simple_tag(takes_context=True)
def pushd_source(
    context: Context,
    *topics: str,
    since: str | None = None,
    sub: str | int | None = None,
    resource: str = "sse",
    **parameters: Any,
) -> SafeString:
    """Return a signed URL for an EventSource: ``new EventSource("{% pushd_source "users/{sub}/inbox" %}")``.

    It begins where this tag is rendered, so put it above the data of the page; data that the view has read already
    needs `since`: see `cursor`. The subject is the primary key of the user who is logged in, unless `sub` is given.

    The URL contains no quotes and no ``< > ;``, and each ``&`` in it is followed by a name and ``=``. So browsers read
    it alike in attributes and in scripts.
    """
    subject = _subject(context) if sub is None else sub
    return mark_safe(source_url(topics, since=since, sub=subject, resource=resource, **parameters))


def _subject(context: Context) -> str | None:
    """Return the primary key of the user who is logged in."""
    user = context.get("user") or getattr(context.get("request"), "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else None

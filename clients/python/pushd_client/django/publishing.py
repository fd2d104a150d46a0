"""Messages that are published when a transaction is committed."""

import json
import logging
from functools import partial
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from ..errors import PushdError
from .apps import current_settings

logger = logging.getLogger("pushd_client.django")


def publish_on_commit(channel: str, data: object = "", *, using: str | None = None, **options: Any) -> None:
    """Publish a message when the present transaction is committed; at once if there is none.

    It is not published if the transaction is rolled back. A message that cannot be published is logged as an error by
    the logger ``pushd_client.django``: what the request has done is in the database already.

    :param data: as in `Pushd.publish`. JSON is encoded now, by `DjangoJSONEncoder`, so dates, decimals and UUIDs are
        allowed.
    :param using: the name of the database; None: the default.
    :param options: those of `Pushd.publish`.
    """
    try:
        if not isinstance(data, (str, bytes)):
            data = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False).encode("utf-8")
            options.setdefault("content_type", "application/json")
        transaction.on_commit(partial(_publish, channel, data, options), using=using)
    except (TypeError, ValueError, RecursionError):
        logger.exception("Message to channel %s is not published: its data cannot be encoded as JSON", channel)


def _publish(channel: str, data: object, options: dict[str, Any]) -> None:
    try:
        present = current_settings()
        with present.reaching(present.client) as client:
            client.publish(channel, data, **options)
    except PushdError as error:
        logger.error("Message to channel %s is not published: %s", channel, error)
    except Exception:  # the transaction is committed, and the response must be sent
        logger.exception("Message to channel %s is not published", channel)

"""The Django app: signed URLs in templates, messages on commit, views for callbacks and hooks.

``INSTALLED_APPS`` contains ``"pushd_client.django"``, and the settings have a dictionary ``PUSHD``: see `conf`.
"""

from ..callbacks import Decision
from .publishing import publish_on_commit
from .sources import cursor, source_url
from .views import DjangoQuestion, authorization_view, webhook_view

__all__ = [
    "Decision",
    "DjangoQuestion",
    "authorization_view",
    "cursor",
    "publish_on_commit",
    "source_url",
    "webhook_view",
]

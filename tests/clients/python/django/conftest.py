"""A Django project in this process, with a database in a temporary file."""

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from tests.clients.python.secured_daemon import WEBHOOK_SECRET, SecuredDaemon, secured_daemon

__all__ = ["secured_daemon"]

FOLDER = TemporaryDirectory()
# A test of a browser may have left an event loop in this thread, which Django takes for its own.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
settings.configure(
    SECRET_KEY="a secret of tests",
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER.name}/db.sqlite3"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "pushd_client.django"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF="tests.clients.python.django.urls",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    USE_TZ=True,
)
django.setup()


@pytest.fixture(scope="session")
def database() -> None:
    """The tables."""
    call_command("migrate", verbosity=0)


@pytest.fixture
def pushd_settings(secured_daemon: SecuredDaemon) -> Iterator[dict[str, Any]]:
    """The settings for the daemon, which is empty."""
    secured_daemon.daemon.clear()
    values = {
        "URL": secured_daemon.daemon.url,
        "TOKEN": secured_daemon.token,
        "URL_KEY": secured_daemon.url_key,
        "HOOK_SECRET": [WEBHOOK_SECRET],
        "CALLBACK_SECRET": WEBHOOK_SECRET,
    }
    with override_settings(PUSHD=values):
        yield values

"""The app."""

from functools import cached_property
from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from . import conf


class PushdConfig(AppConfig):
    """Registers the system checks, and keeps the client of all requests."""

    name = "pushd_client.django"
    label = "pushd"
    verbose_name = "pushd"

    def ready(self) -> None:
        """Register what belongs to the app."""
        from . import checks  # noqa: F401

        setting_changed.connect(self._forget, dispatch_uid="pushd_client.django")

    @cached_property
    def settings(self) -> conf.PushdSettings:
        """The settings and clients."""
        return conf.load()

    def _forget(self, *, setting: str, **_: Any) -> None:
        """Read the settings again after a test has changed them."""
        if setting == conf.NAME and "settings" in self.__dict__:
            self.__dict__.pop("settings").close()


def current_settings() -> conf.PushdSettings:
    """Return the settings of the installed app.

    :raises LookupError: when ``pushd_client.django`` is not in ``INSTALLED_APPS``.
    """
    from django.apps import apps

    config = apps.get_app_config(PushdConfig.label)
    assert isinstance(config, PushdConfig)
    return config.settings

"""The hooks that the settings describe."""

from collections.abc import Iterator

from twisted.logger import Logger

from pushd.backends.interface import BackendUnusable
from pushd.config.hooks import Hooks, build_hooks
from pushd.config.mistakes import ConfigError, InvalidSettings, Mistake
from pushd.config.table import Config
from pushd.hub.hooks import HubHooks

_log = Logger()


def check_hooks(config: Config) -> Iterator[Mistake]:
    """Check the files of hooks. Nothing is sent."""
    try:
        build_hooks(config.hooks)
    except InvalidSettings as error:
        yield from error.mistakes


def open_hooks(hooks: HubHooks, settings: Hooks) -> None:
    """Set the hooks before the start.

    :raises ConfigError: when a file cannot be read or is invalid, or the backend cannot keep events.
    """
    try:
        hooks.reconfigure(build_hooks(settings))
    except (ValueError, BackendUnusable) as error:
        raise ConfigError(*str(error).splitlines()) from error


def reload_hooks(hooks: HubHooks, settings: Hooks) -> None:
    """Replace the hooks after a reload. If a file cannot be read, the previous ones stay in use."""
    try:
        hooks.reconfigure(build_hooks(settings))
    except (ValueError, BackendUnusable) as error:
        reason = "; ".join(str(error).splitlines())
        _log.error("Hooks not reloaded, the previous ones stay in use: {reason}", reason=reason)

"""The dialects that are enabled: the only place that names one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from twisted.application.service import Service

from pushd.config.dialects import (
    BayeuxSettings,
    Comet4jSettings,
    DialectSettings,
    FlashPolicySettings,
    PushletSettings,
    field_of,
)
from pushd.dialects.bayeux.dialect import Bayeux
from pushd.dialects.bayeux.settings import BayeuxSettings as PlainSettings
from pushd.dialects.comet4j.dialect import Comet4j
from pushd.dialects.flash_policy.dialect import FlashPolicy
from pushd.dialects.iframe.dialect import Iframe
from pushd.dialects.interface import Dialect, DialectContext
from pushd.dialects.pushlet.dialect import Pushlet
from pushd.dialects.sessions import Limits


def _make_bayeux(settings: BayeuxSettings, context: DialectContext) -> tuple[Bayeux, Callable[[Any], None]]:
    bayeux = Bayeux(context, [path.removeprefix("/").encode("ascii") for path in settings.path], _plain(settings))
    return bayeux, lambda new: bayeux.reconfigure(_plain(new))


def _plain(settings: BayeuxSettings) -> PlainSettings:
    return PlainSettings(**{row.name: getattr(settings, row.name) for row in fields(PlainSettings)})


def _make_iframe(settings: object, context: DialectContext) -> tuple[Iframe, Callable[[Any], None]]:
    return Iframe(context), lambda new: None


def _make_flash_policy(
    settings: FlashPolicySettings, context: DialectContext
) -> tuple[FlashPolicy, Callable[[Any], None]]:
    policy = FlashPolicy(context, settings.domains, settings.ports)
    return policy, lambda new: policy.reconfigure(new.domains, new.ports)


def _make_pushlet(settings: PushletSettings, context: DialectContext) -> tuple[Pushlet, Callable[[Any], None]]:
    pushlet = Pushlet(context, _session_limits(settings))
    return pushlet, lambda new: pushlet.reconfigure(_session_limits(new))


def _session_limits(settings: PushletSettings | Comet4jSettings) -> Limits:
    return Limits(settings.sessions, settings.sessions_per_address, settings.timeout)


def _make_comet4j(settings: Comet4jSettings, context: DialectContext) -> tuple[Comet4j, Callable[[Any], None]]:
    comet4j = Comet4j(context, _session_limits(settings), settings.channels)
    return comet4j, lambda new: comet4j.reconfigure(_session_limits(new), new.channels)


_MAKERS: Final[Mapping[str, Callable[[Any, DialectContext], tuple[Dialect, Callable[[Any], None]]]]] = {
    "bayeux": _make_bayeux,
    "iframe": _make_iframe,
    "flash-policy": _make_flash_policy,
    "pushlet": _make_pushlet,
    "comet4j": _make_comet4j,
}
"""What builds each dialect from its settings, and returns it with what applies other settings on a reload."""


class Dialects(Service):
    """All dialects that are enabled."""

    def __init__(self, settings: DialectSettings, context: DialectContext) -> None:
        self._built = {
            name: _MAKERS[name](getattr(settings, field_of(name)), context) for name in dict.fromkeys(settings.enable)
        }

    @property
    def all(self) -> Sequence[Dialect]:
        """The dialects."""
        return [dialect for dialect, _ in self._built.values()]

    def reconfigure(self, settings: DialectSettings) -> None:
        """Apply the settings of a reload."""
        for name, (_, reconfigure) in self._built.items():
            reconfigure(getattr(settings, field_of(name)))

    def stopService(self) -> None:
        """Stop all; called when their transports are closed."""
        super().stopService()
        for dialect, _ in self._built.values():
            dialect.stop()

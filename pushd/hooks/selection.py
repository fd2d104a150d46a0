"""Which hooks have which events."""

from collections.abc import Sequence
from typing import Final

from pushd.backends.hook_outbox import PublishHook
from pushd.core.names import PRESENCE
from pushd.hooks.endpoint import EventType, HookEndpoint

_CACHED: Final = 4096
"""The most channels whose hooks are cached."""


class HookSelection:
    """The hooks by their events; see `pushd.backends.hook_outbox.PublishHooks` for those of publishes."""

    def __init__(self, endpoints: Sequence[HookEndpoint]) -> None:
        self._by_event: dict[EventType, list[HookEndpoint]] = {}
        for endpoint in endpoints:
            for event in endpoint.events:
                self._by_event.setdefault(event, []).append(endpoint)
        self._cached: dict[str, Sequence[PublishHook]] = {}

    @property
    def has_publishes(self) -> bool:
        """Whether a hook has the events of publishes, or of members, which are published too."""
        return bool(self._by_event.keys() & {"publish", "enter", "leave"})

    def has(self, event: EventType) -> bool:
        """Return whether a hook has an event, for any channel."""
        return event in self._by_event

    def names(self, event: EventType, topic: str = "") -> list[str]:
        """Return the names of the hooks that have an event; see `HookEndpoint.wants`."""
        return [each.name for each in self._by_event.get(event, ()) if each.wants(event, topic)]

    def hooks_of(self, channel: str) -> Sequence[PublishHook]:
        """Return the hooks with the publishes on a channel. Those of members have the events of its presence."""
        hooks = self._cached.get(channel)
        if hooks is None:
            if len(self._cached) >= _CACHED:
                self._cached.clear()
            hooks = self._cached[channel] = self._find(channel)
        return hooks

    def of_members(self) -> Sequence[str]:
        """Return the names of the hooks with events of members, of any channel."""
        hooks = (*self._by_event.get("enter", ()), *self._by_event.get("leave", ()))
        return list(dict.fromkeys(each.name for each in hooks))

    def _find(self, channel: str) -> Sequence[PublishHook]:
        if channel.startswith(PRESENCE):
            members = channel.removeprefix(PRESENCE)
            names = dict.fromkeys((*self.names("enter", members), *self.names("leave", members)))
            return tuple(PublishHook(name, has_content=True) for name in names)
        endpoints = self._by_event.get("publish", ())
        return tuple(PublishHook(each.name, each.has_content) for each in endpoints if each.wants("publish", channel))

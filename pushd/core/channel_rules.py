"""Rules for channels: settings of those whose names match a pattern, where the first match in file order counts.

A rule is looked up once for each channel: backends keep the resulting `Retention` with the record of the channel, and
other results are cached.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from pushd.core.history import Bounds, Retention
from pushd.core.names import PRESENCE, Scope
from pushd.core.outbox import Policy
from pushd.core.patterns import PatternSet

_CACHE_SIZE: Final = 4096
"""The number of channels whose rules are cached."""
_SHOWN: Final = 10
"""The most rules in an overview."""


class ChannelRule(NamedTuple):
    """Settings of the channels that match a topic. None: as if there were no rule."""

    match: str
    """A channel or a pattern."""
    messages: int | None = None
    """See `Bounds`, here and below."""
    bytes: int | None = None
    age: float | None = None
    ttl: float | None = None
    """The time to live of messages that are published without one, in seconds."""
    keep: bool | None = None
    """Whether messages are kept if their publisher does not say."""
    slow: Policy | None = None
    """The slow-consumer policy of subscribers that do not name one."""
    presence: bool | None = None
    """Whether the channels have presence."""

    def retention(self, bounds: Bounds) -> Retention:
        """Return the retention of the channels of this rule."""
        return Retention(
            bounds.messages if self.messages is None else self.messages,
            bounds.bytes if self.bytes is None else self.bytes,
            None if self.age == bounds.age else self.age,
        )

    def __str__(self) -> str:
        """Return the rule as it is written in the log: its topic, and what it sets."""
        values = self._asdict().items()
        settings = [f"{name}={_text(value)}" for name, value in values if value is not None and name != "match"]
        return f"{self.match} ({' '.join(settings) or 'defaults'})"


class ChannelRules:
    """The rules, in file order."""

    def __init__(self, rules: Sequence[ChannelRule] = ()) -> None:
        self.rules = tuple(rules)
        self._matches = PatternSet([rule.match for rule in rules])
        deque(self._matches.compile(), 0)  # now, since several threads may match
        self._scope = Scope(tuple(rule.match for rule in rules))
        self._has_policies = any(rule.slow is not None for rule in rules)
        self._cache: dict[str, ChannelRule | None] = {}

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.rules)

    def __eq__(self, other: object) -> bool:
        """Return whether the rules are the same, in the same order."""
        return isinstance(other, ChannelRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def find(self, channel: str) -> int | None:
        """Return the index of the first rule that matches a channel; None if none does."""
        matched = self._matches.matching(channel) if self.rules else 0
        return (matched & -matched).bit_length() - 1 if matched else None

    def rule_of(self, channel: str) -> ChannelRule | None:
        """Return the first rule that matches a channel; None if none does."""
        if not self.rules:
            return None
        try:
            return self._cache[channel]
        except KeyError:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            index = self.find(channel)
            rule = self._cache[channel] = None if index is None else self.rules[index]
            return rule

    def presence_of(self, channel: str) -> bool:
        """Return whether a channel has presence, which is the default."""
        rule = self.rule_of(channel)
        return rule is None or rule.presence is not False

    def policy_of(self, topics: Sequence[str]) -> Policy | None:
        """Return the slow-consumer policy of a subscription that names none; None if no rule has one for it.

        It is that of the first topic for which a rule has one. The rule of a pattern is the first that covers it.
        """
        for topic in topics if self._has_policies else ():
            covering = self._scope.covering(topic)
            if covering and (policy := self.rules[(covering & -covering).bit_length() - 1].slow) is not None:
                return policy
        return None

    def overview(self) -> str:
        """Return the rules in one line, for the log; of many, the first ones."""
        shown = ", ".join(map(str, self.rules[:_SHOWN]))
        more = len(self.rules) - _SHOWN
        return f"{shown} and {more} more" if more > 0 else shown or "none"


NO_RULES: Final = ChannelRules()


class Retentions:
    """The retention of each channel: by the first rule that matches, or else the bounds of all channels."""

    def __init__(self, bounds: Bounds, rules: ChannelRules) -> None:
        self.bounds = bounds
        self.default = Retention(bounds.messages, bounds.bytes)
        retentions = [rule.retention(bounds) for rule in rules.rules]
        self.table = tuple(dict.fromkeys([self.default, *retentions]))
        """The different retentions; the first is the default."""
        self._of_events = Retention(bounds.of_events.messages, bounds.of_events.bytes)
        self.ages = tuple(dict.fromkeys(each.age for each in retentions if each.age is not None))
        """The ages besides that of all channels."""
        self.by_match = tuple(zip((rule.match for rule in rules.rules), retentions, strict=True))
        """The topic of each rule with its retention."""
        self._rules = rules if len(self.table) > 1 else NO_RULES
        self._retentions = retentions
        self._cache: dict[str, Retention] = {}

    def of(self, channel: str) -> Retention:
        """Return the retention of a channel. May be called from any thread.

        No rule matches the channels of presence events, which have bounds of their own.
        """
        if channel.startswith(PRESENCE):
            return self._of_events
        if not self._rules:
            return self.default
        try:
            return self._cache[channel]
        except KeyError:
            index = self._rules.find(channel)
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            retention = self._cache[channel] = self.default if index is None else self._retentions[index]
            return retention


def _text(value: object) -> str:
    if isinstance(value, Policy):
        return value.value
    return f"{value:.10g}" if isinstance(value, float) else str(value).lower()

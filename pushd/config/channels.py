"""Settings of channels: the tables [[channel]] of the file, in their order.

The fields of the class are settings as in `pushd.config.table`. They have no option and no environment variable,
because the patterns are up to the operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from pushd.config.fields import optional, read_fields, required
from pushd.config.mistakes import Mistakes, key_of, shown
from pushd.config.parsers import choice, count, duration, flag, nonblank_string, size
from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.errors import Refusal
from pushd.core.names import check_topic
from pushd.core.outbox import Policy

MAX_RULES: Final = 1000
_NAME = "channel"


def topic(value: object) -> str:
    """Return a channel name or a pattern."""
    try:
        return check_topic(nonblank_string(value))
    except Refusal as refusal:
        raise ValueError(f"{shown(value)} is neither a channel nor a pattern: {refusal}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """Settings of the channels that match. What is not set is as if there were no such table."""

    match: str = required(topic, "The channels: a name, or a pattern as in a subscription.", "topic")
    messages: int | None = optional(count(minimum=0), "The most messages kept of a channel; 0 keeps none.", "messages")
    bytes: int | None = optional(size(minimum=0), "The most bytes kept of a channel.", "bytes")
    age: float | None = optional(duration(), "How long a message is kept.", "seconds")
    ttl: float | None = optional(
        duration(minimum=0.001), "The time to live of messages that are published without one.", "seconds"
    )
    keep: bool | None = optional(flag, "Whether messages are kept if their publisher does not say.", "true or false")
    slow: str | None = optional(
        choice(*(policy.value for policy in Policy)),
        "What happens to slow subscribers that name no policy.",
        "disconnect, drop, latest",
    )
    presence: bool | None = optional(flag, "Whether the channels have presence.", "true or false")

    @property
    def rule(self) -> ChannelRule:
        """The settings as a rule."""
        values = {row.name: getattr(self, row.name) for row in fields(self)}
        return ChannelRule(**values | {"slow": None if self.slow is None else Policy(self.slow)})


def read_channels(tables: object) -> ChannelRules:
    """Return the rules of a configuration file.

    :param tables: the value of `channel` in the file: a list of tables.
    :raises InvalidSettings: with all mistakes. Keys are such as ``channel[2].age``: the tables are numbered from 1.
    """
    mistakes = Mistakes()
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.add((_NAME,), "must be a list of tables, each written [[channel]]")
        tables = []
    if len(tables) > MAX_RULES:
        mistakes.add((_NAME,), f"must not have more than {MAX_RULES} tables (got {len(tables)})")
        tables = []
    rules: dict[int, ChannelRule] = {}
    for number, table in enumerate(tables, 1):
        with mistakes.collected():
            rules[number] = read_fields((_NAME, number), ChannelSettings, table).rule
    _check_distinct(rules, mistakes)
    mistakes.check()
    return ChannelRules(list(rules.values()))


def _check_distinct(rules: Mapping[int, ChannelRule], mistakes: Mistakes) -> None:
    first: dict[str, int] = {}
    for number, rule in rules.items():
        earlier = first.setdefault(rule.match, number)
        if earlier != number:
            key = key_of((_NAME, earlier, "match"))
            mistakes.add((_NAME, number, "match"), f"must differ from {key}, which is the first match")

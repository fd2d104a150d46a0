"""Settings of channels by rules: the defaults of messages and of subscriptions, and what a reload changes."""

from collections.abc import Sequence

from msgspec import structs
from twisted.logger import Logger

from pushd.backends.interface import Backend
from pushd.core.channel_rules import ChannelRules
from pushd.core.message import Draft
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber


class ChannelSettings:
    """The rules for channels that are in use."""

    log = Logger()

    def __init__(self, backend: Backend, rules: ChannelRules) -> None:
        self.rules = rules
        self.has_rules = bool(rules)
        """Whether there are any, so that a publish without them calls nothing here."""
        self._backend = backend

    def reconfigure(self, rules: ChannelRules) -> None:
        """Apply other rules: to messages and subscriptions from now on, and to the history soon."""
        before, self.rules, self.has_rules = self.rules, rules, bool(rules)
        if rules != before:
            self._backend.reconfigure(rules)
            self._log_rules()

    def start(self) -> None:
        """Log the rules, if there are any."""
        if self.rules:
            self._log_rules()

    def complete(self, drafts: Sequence[Draft], *, has_key: bool = False) -> Sequence[Draft]:
        """Return messages to publish with what the rules set where their publisher has set nothing.

        :param has_key: whether they have an idempotency key, with which they are kept.
        """
        return [self._complete(draft, has_key) for draft in drafts]

    def choose_policy(self, subscriber: Subscriber, topics: Sequence[str]) -> None:
        """Give a subscriber the slow-consumer policy that the rules have for its topics, unless it has named one.

        A connection has one policy. So the first of its topics counts for which a rule has one.
        """
        if not subscriber.has_policy and (policy := self.rules.policy_of(topics)) is not None:
            subscriber.choose_policy(policy)

    def has_presence(self, channel: str) -> bool:
        """Return whether a channel may have members."""
        return self.rules.presence_of(channel)

    def shown_rule(self, peer: Peer, channel: str) -> str | None:
        """Return the topic of the rule of a channel, for a peer that may list channels; None if there is none."""
        rule = self.rules.rule_of(channel) if peer.grant.may_operate("channels") else None
        return None if rule is None else rule.match

    def _log_rules(self) -> None:
        self.log.info("Rules for channels, of which the first match counts: {rules}", rules=self.rules.overview())

    def _complete(self, draft: Draft, has_key: bool) -> Draft:
        rule = self.rules.rule_of(draft.channel)
        if rule is None or not draft.keep or draft.ttl is not None:
            return draft
        if rule.keep is False and not (draft.names_keep or draft.end or has_key):
            return structs.replace(draft, keep=False)
        if rule.ttl is None or (draft.end and not draft.data):
            return draft
        return structs.replace(draft, ttl=rule.ttl)

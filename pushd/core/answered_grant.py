"""Grants of which a part was decided by the application, in the answer to a callback."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from pushd.core.grant import UNLIMITED, Action, Decision, Grant, Operation, Quota

UNASKED: Final = Grant.parse({}, None, where="UNASKED")
"""The grant of a peer without a credential for whom the application has not been asked yet: nothing is allowed."""
_FEW: Final = 100
_LIMITS: Final = ("connections", "subscriptions", "messages_per_second", "bytes_per_second")


@dataclass(frozen=True, slots=True)
class NarrowedGrant(Grant):
    """What both the grant of a credential and that of an answer allow. It is never more than the credential had."""

    credential: Grant = field(kw_only=True)
    answer: Grant = field(kw_only=True)

    @classmethod
    def of(cls, credential: Grant, answer: Grant) -> Self:
        """Return the grant of a credential, narrowed by an answer."""
        quota = _smaller(credential.quota, answer.quota)
        return cls(credential.subject, tags=credential.tags, quota=quota, credential=credential, answer=answer)

    def may(self, action: Action, topic: str) -> bool:
        """See `Grant`."""
        return self.credential.may(action, topic) and self.answer.may(action, topic)

    def decide(self, action: Action, topic: str) -> Decision:
        """See `Grant`; the credential decides first."""
        decision = self.credential.decide(action, topic)
        return self.answer.decide(action, topic) if decision.is_allowed else decision

    def decide_operation(self, operation: Operation) -> Decision:
        """See `Grant`; the credential decides first."""
        decision = self.credential.decide_operation(operation)
        return self.answer.decide_operation(operation) if decision.is_allowed else decision

    def may_operate(self, operation: Operation) -> bool:
        """See `Grant`."""
        return self.credential.may_operate(operation) and self.answer.may_operate(operation)

    @property
    def is_empty(self) -> bool:
        """See `Grant`."""
        return self.credential.is_empty or self.answer.is_empty

    def similar(self, action: Action, topic: str) -> str | None:
        """See `Grant`."""
        candidates = self.credential.similar(action, topic), self.answer.similar(action, topic)
        return next((each for each in candidates if each is not None and self.may(action, each)), None)


@dataclass(frozen=True, slots=True)
class AnonymousGrant(Grant):
    """What an answer allows a peer without a credential, and the topics to which later answers let it subscribe."""

    answer: Grant = field(kw_only=True)
    topics: dict[str, bool] = field(default_factory=dict, kw_only=True)
    """These topics, and whether it may read their history."""
    _pruned_at: list[int] = field(default_factory=lambda: [_FEW], init=False, repr=False, compare=False)
    """The number of topics at which those that the peer does not have any more are forgotten."""

    @classmethod
    def of(cls, answer: Grant) -> "AnonymousGrant":
        """Return the grant of an answer, or of anonymous peers, to which topics can be added."""
        return answer if isinstance(answer, AnonymousGrant) else cls(quota=answer.quota, answer=answer)

    def add(self, topics: Sequence[str], current: Container[str], *, reads_history: bool) -> None:
        """Add topics of a subscription.

        :param current: the topics that the peer has; others are forgotten from time to time.
        """
        for topic in topics:
            self.topics[topic] = reads_history
        if len(self.topics) >= self._pruned_at[0]:
            for topic in [each for each in self.topics if each not in current and each not in topics]:
                del self.topics[topic]
            self._pruned_at[0] = 2 * len(self.topics) + _FEW

    def may(self, action: Action, topic: str) -> bool:
        """See `Grant`."""
        return self.answer.may(action, topic) or self._may_read(action, topic)

    def decide(self, action: Action, topic: str) -> Decision:
        """See `Grant`."""
        return Decision(True, action, topic) if self._may_read(action, topic) else self.answer.decide(action, topic)

    def decide_operation(self, operation: Operation) -> Decision:
        """See `Grant`."""
        return self.answer.decide_operation(operation)

    def may_operate(self, operation: Operation) -> bool:
        """See `Grant`."""
        return self.answer.may_operate(operation)

    @property
    def is_empty(self) -> bool:
        """See `Grant`."""
        return self.answer.is_empty and not self.topics

    def similar(self, action: Action, topic: str) -> str | None:
        """See `Grant`."""
        return self.answer.similar(action, topic)

    def _may_read(self, action: Action, topic: str) -> bool:
        return (action == "subscribe" and topic in self.topics) or (
            action == "history" and self.topics.get(topic, False)
        )


def _smaller(one: Quota, other: Quota) -> Quota:
    """Return the smaller limit of two quotas for each of their keys."""
    if other is UNLIMITED:
        return one
    limits = {}
    for name in _LIMITS:
        known = [limit for limit in (getattr(one, name), getattr(other, name)) if limit is not None]
        limits[name] = min(known, default=None)
    return Quota(**limits)

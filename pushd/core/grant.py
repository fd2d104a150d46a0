"""Grants: what the holder of a credential may do on which topics.

Every credential becomes one `Grant`; transports and the hub only ask whether it allows an action on a topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Self, get_args

from pushd.core.denied_topics import DeniedTopics
from pushd.core.errors import BadTopic, NotGranted, Refusal
from pushd.core.names import (
    HOOKS,
    PRESENCE,
    Scope,
    check_channel,
    check_topic,
    covers,
    intersection,
    intersects,
    is_pattern,
)

Action = Literal["subscribe", "publish", "history", "presence", "enter", "reply", "manage"]
"""What a peer does on a topic."""
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
Operation = Literal["metrics", "connections", "kick", "channels", "hooks", "revoke", "explain"]
"""What an operator does with the daemon."""
OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)

_SUBJECT: Final = "{sub}"
_EVERY: Final = "*"
_DEFAULTS: Final[Mapping[Action, Action]] = {"history": "subscribe", "enter": "subscribe", "reply": "publish"}
"""The actions whose topics, if a grant does not list them, are those of another action."""
_QUOTAS: Final = ("connections", "subscriptions", "messages_per_second", "bytes_per_second")
_OF_OPERATORS: Final = ("subscribe", "history", "manage")
"""The actions that are allowed on the channels of hooks to who may do the operation."""
_KEYS: Final = (*ACTIONS, "deny", "operate", "tags", "quota")
_MOST_COMPARED: Final = 16
"""The number of granted topics among which a refusal looks for one to suggest, so that refusals are cheap."""
_MOST_TAG_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one subject, or of one address for anonymous peers; None: only those of the daemon apply."""

    connections: int | None = None
    subscriptions: int | None = None
    messages_per_second: int | None = None
    bytes_per_second: int | None = None


UNLIMITED: Final = Quota()
"""The quota of a grant without one."""


class Decision(NamedTuple):
    """Whether something is allowed, and which entry of a grant decided."""

    is_allowed: bool
    key: str
    """The key of the grant that decided: an action, ``deny`` or ``operate``; ``*`` if everything is allowed."""
    entry: str | None
    """The topic or operation of that key that decided; None if it has none for what was requested."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a subject may do. Use `parse`, `FULL` or `NOTHING`."""

    subject: str | None = None
    """The authenticated user, device or service; None for anonymous peers."""
    allow: Mapping[Action, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The allowed topics of each action."""
    deny: tuple[str, ...] = ()
    """Topics on which no action is allowed."""
    operate: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    quota: Quota = UNLIMITED
    is_full: bool = False
    """Whether everything is allowed."""
    defaulted: tuple[Action, ...] = field(default=(), repr=False, compare=False)
    """The actions that are not listed, whose topics are those of another action."""
    _scopes: Mapping[Action, Scope] = field(init=False, repr=False, compare=False)
    _denied: DeniedTopics | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the topics. Actions with the same topics share an index."""
        scopes: dict[tuple[str, ...], Scope] = {}
        by_action = {
            action: scopes.setdefault(topics, Scope(topics)) for action, topics in self.allow.items() if topics
        }
        object.__setattr__(self, "_scopes", by_action)
        object.__setattr__(self, "_denied", DeniedTopics(self.deny) if self.deny else None)

    @classmethod
    def parse(cls, table: Mapping[str, object], subject: str | None, *, where: str) -> Self:
        """Return the grant that a table describes.

        :param table: lists of topics by action, and `deny`, `operate`, `tags` and `quota`; all may be left out.
        :param subject: replaces ``{sub}``, which must be a whole segment of a topic. If it is not a valid segment,
            such topics are not granted.
        :param where: what the table is part of, for the error.
        :raises ValueError: when a key or a value is invalid, or a denied topic depends on a subject that is not a
            valid segment. The text is one sentence.
        """
        try:
            return cls._parse(table, subject)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    @classmethod
    def _parse(cls, table: Mapping[str, object], subject: str | None) -> Self:
        for key in table:
            if key not in _KEYS:
                raise ValueError(f"unknown key {_shown(key)} (accepted: {', '.join(_KEYS)})")
        lists = {key: _topics(key, table[key]) for key in (*ACTIONS, "deny") if key in table}
        segment = subject if subject is not None and _is_segment(subject) else None
        granted = {action: _granted(lists[action], segment) for action in ACTIONS if action in lists}
        allow = {action: granted.get(action, granted.get(_DEFAULTS.get(action, action), ())) for action in ACTIONS}
        return cls(
            subject,
            MappingProxyType(allow),
            _denied(lists.get("deny", ()), segment),
            _operations(table.get("operate", [])),
            _tags(table.get("tags", [])),
            _quota(table.get("quota", {})),
            defaulted=tuple(action for action in _DEFAULTS if action not in table),
        )

    def may(self, action: Action, topic: str) -> bool:
        """Return whether the action is allowed on every channel that matches a topic, which must be valid.

        One of the allowed topics must cover it, and no denied one may intersect it. The daemon's channels, whose names
        begin with ``$``, have no members. Their topics are allowed by name only, except for the events of presence:
        to receive those of a channel is the action `presence` on that channel. The dead letters of hooks are for those
        who may do the operation `hooks`.
        """
        if self.is_full:
            return True
        if topic[0] == "$":
            if topic.startswith(HOOKS) and action in _OF_OPERATORS:
                return self.may_operate("hooks") and not self._denies(topic)
            action, topic = _without_presence(action, topic)
            if topic[0] == "$" and action in ("presence", "enter"):
                return False
        scope = self._scopes.get(action)
        return scope is not None and scope.covers(topic) and not self._denies(topic)

    def check(self, action: Action, topic: str) -> None:
        """Do nothing if the action is allowed on a topic, which must be valid; see `may`.

        :raises NotGranted: when it is not. The text names a topic that would be accepted, if there is a similar one.
        """
        if not self.may(action, topic):
            instead = self.similar(action, topic)
            hint = f"; accepted: {instead}" if instead else ""
            raise NotGranted(f"action {action} on topic {topic} is not granted{hint}", action, topic)

    def decide(self, action: Action, topic: str) -> Decision:
        """Return the result of `may` with the entry that decided. A denied topic decides over an allowed one.

        The time is proportional to the number of topics: it is meant for operators.
        """
        if self.is_full:
            return Decision(True, _EVERY, None)
        inner, wanted = _without_presence(action, topic)
        denied = next((each for each in self.deny if intersects(each, wanted)), None)
        if denied is not None:
            return Decision(False, "deny", denied)
        if wanted.startswith(HOOKS) and inner in _OF_OPERATORS:
            return self.decide_operation("hooks")
        key: Action = _DEFAULTS[inner] if inner in self.defaulted else inner
        has_members = wanted[0] != "$" or inner not in ("presence", "enter")
        granted = self.allow.get(inner, ()) if has_members else ()
        allowed = next((each for each in granted if covers(each, wanted)), None)
        return Decision(allowed is not None, key, allowed)

    def decide_operation(self, operation: Operation) -> Decision:
        """Return the result of `may_operate` with the entry that decided."""
        if self.is_full:
            return Decision(True, _EVERY, None)
        entry = next((each for each in (operation, _EVERY) if each in self.operate), None)
        return Decision(entry is not None, "operate", entry)

    def may_operate(self, operation: Operation) -> bool:
        """Return whether an operation on the daemon is allowed."""
        return self.is_full or operation in self.operate or _EVERY in self.operate

    @property
    def is_empty(self) -> bool:
        """Whether nothing is allowed."""
        return not (self.is_full or self._scopes or self.operate)

    def _denies(self, topic: str) -> bool:
        return self._denied is not None and self._denied.intersects(topic)

    def similar(self, action: Action, topic: str) -> str | None:
        """Return the allowed part of a refused topic, or else an allowed topic with the same first segment."""
        inner, wanted = _without_presence(action, topic)
        prefix = topic.removesuffix(wanted)
        granted = self.allow.get(inner, ())[:_MOST_COMPARED]
        patterns = granted if is_pattern(wanted) else ()
        parts = filter(None, (intersection(wanted, pattern) for pattern in patterns))
        start = wanted.split("/")[0]
        candidates = (*parts, *(pattern for pattern in granted if pattern.split("/")[0] == start))
        return next((prefix + each for each in candidates if self.may(inner, each)), None)


def _without_presence(action: Action, topic: str) -> tuple[Action, str]:
    """Return the action and the topic on which receiving a topic depends."""
    if action in ("subscribe", "history") and topic.startswith(PRESENCE):
        return "presence", topic.removeprefix(PRESENCE)
    return action, topic


def _is_segment(subject: str) -> bool:
    """Return whether a subject may be a segment of a topic: a channel name of one segment, without ``$``."""
    try:
        check_channel(subject)
    except Refusal:
        return False
    return "/" not in subject and subject[0] != "$"


def _topics(key: str, value: object) -> tuple[str, ...]:
    """Return the topics of a list, in which ``{sub}`` is not replaced yet."""
    topics = tuple(dict.fromkeys(_strings(key, value)))
    for topic in topics:
        problem = _problem(topic)
        if problem:
            raise ValueError(f"{key}: {_shown(topic)} is not accepted: {problem}")
    return topics


def _problem(topic: str) -> str | None:
    try:
        check_topic(topic)
    except BadTopic as refusal:
        return str(refusal)
    if topic.startswith(PRESENCE):
        return "list the channel itself; its events of presence follow the action presence"
    if topic.startswith(HOOKS):
        return "who may do the operation hooks may read the dead letters of hooks"
    if any(_SUBJECT in segment and segment != _SUBJECT for segment in topic.split("/")):
        return "{sub} must be a whole segment"
    return None


def _granted(topics: tuple[str, ...], segment: str | None) -> tuple[str, ...]:
    """Return the topics for a subject; those that would not be valid are left out."""
    return tuple(topic for each in topics if (topic := _for_subject(each, segment)) is not None)


def _denied(topics: tuple[str, ...], segment: str | None) -> tuple[str, ...]:
    """Return the denied topics for a subject."""
    denied = tuple(_for_subject(topic, segment) for topic in topics)
    if None in denied:
        raise ValueError("deny: {sub} is used, and the subject is not a valid segment of a topic")
    return tuple(filter(None, denied))


def _for_subject(topic: str, segment: str | None) -> str | None:
    """Return a topic in which ``{sub}`` is replaced; None if the result is not a topic."""
    if _SUBJECT not in topic:
        return topic
    if segment is None:
        return None
    replaced = "/".join(segment if each == _SUBJECT else each for each in topic.split("/"))
    try:
        return check_topic(replaced)
    except BadTopic:
        return None


def _operations(value: object) -> frozenset[str]:
    operations = frozenset(_strings("operate", value))
    for unknown in sorted(operations.difference(OPERATIONS, (_EVERY,))):
        raise ValueError(f"operate: unknown operation {_shown(unknown)} (accepted: {', '.join(OPERATIONS)}, *)")
    return operations


def _tags(value: object) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(_strings("tags", value)))
    if not all(0 < len(tag) <= _MOST_TAG_CHARACTERS and tag.isprintable() for tag in tags):
        raise ValueError(f"tags: each must have 1 to {_MOST_TAG_CHARACTERS} printable characters")
    return tags


def _quota(value: object) -> Quota:
    if not isinstance(value, Mapping):
        raise ValueError("quota: must be an object of limits")
    for key, limit in value.items():
        if key not in _QUOTAS:
            raise ValueError(f"quota: unknown key {_shown(key)} (accepted: {', '.join(_QUOTAS)})")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ValueError(f"quota.{key}: {_shown(limit)} is not a whole number of at least 1")
    return Quota(**value) if value else UNLIMITED


def _strings(key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{key}: {_shown(value)} is not a list of strings")
    return value


def _shown(value: object) -> str:
    """Return a value for an error message: printable, and not too long."""
    return f"{value!a:.80}"


FULL: Final = Grant(is_full=True)
"""The grant of sources, and of every peer where authentication is off."""
NOTHING: Final = Grant.parse({}, None, where="NOTHING")

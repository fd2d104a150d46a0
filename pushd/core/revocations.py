"""Revocations: which credentials are not accepted any more although they are genuine and have not expired.

A revocation names a token id, a subject or a tag, and covers the credentials that were issued before a time. It is kept
for as long as such a credential could otherwise be valid.
"""

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import Final, Literal, NamedTuple, get_args

from pushd.core.identity import Identity

Kind = Literal["jti", "sub", "tag"]
"""What a revocation names: a token id, a subject or a tag."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MAX_REVOCATIONS: Final = 100_000
"""The most revocations that are kept at a time: about 40 MB."""
MAX_VALUE_BYTES: Final = 1024
"""The most bytes of what a revocation names."""
MAX_REASON_BYTES: Final = 255
"""The most bytes of a reason."""
REVOKED: Final = "token has been revoked"
"""The text for the peer. The reason is for operators only."""

Key = tuple[Kind, str]


class Revocation(NamedTuple):
    """One revocation. All times are in unix seconds."""

    kind: Kind
    value: str
    before: int
    """It covers the credentials that were issued before, and those without a time of issue."""
    until: int
    """How long it is kept."""
    created: int
    reason: str = ""

    @property
    def key(self) -> Key:
        """What it names; there is one revocation of a key at a time."""
        return self.kind, self.value

    def merged(self, other: "Revocation") -> "Revocation":
        """Return the revocation that covers all that two of the same key cover; the newer one gives the reason.

        The result does not depend on the order, so that nodes which receive both agree.
        """
        newer = max(self, other, key=lambda each: (each.created, each.reason))
        return newer._replace(before=max(self.before, other.before), until=max(self.until, other.until))


class Revocations:
    """The revocations that are known. A lookup takes a constant time for each tag of an identity."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Revocation] = {}
        self._next_expiry = 0
        """No revocation expires earlier, in unix seconds."""

    def __len__(self) -> int:
        """Return the number of revocations."""
        return len(self._by_key)

    def __iter__(self) -> Iterator[Revocation]:
        """Iterate over the revocations as they are now."""
        return iter(list(self._by_key.values()))

    def find(self, key: Key) -> Revocation | None:
        """Return the revocation of a key; None if there is none."""
        return self._by_key.get(key)

    def add(self, revocations: Iterable[Revocation], now: float) -> list[Revocation]:
        """Add revocations, each merged with the known one of its key; return those that changed something.

        :param now: unix seconds; what has expired is ignored.
        """
        changed = []
        for revocation in revocations:
            known = self._by_key.get(revocation.key)
            merged = revocation if known is None else known.merged(revocation)
            if merged != known and merged.until > now:
                self._by_key[merged.key] = merged
                self._next_expiry = min(self._next_expiry or merged.until, merged.until)
                changed.append(merged)
        return changed

    def expire(self, now: float) -> None:
        """Remove the revocations that have expired. `now`: unix seconds."""
        if self._by_key and now >= self._next_expiry:
            self._by_key = {key: each for key, each in self._by_key.items() if each.until > now}
            self._next_expiry = min((each.until for each in self._by_key.values()), default=0)

    def covering(self, identity: Identity) -> Revocation | None:
        """Return a revocation that covers the credential of an identity; None if there is none."""
        for key in _keys_of(identity) if self._by_key else ():
            revocation = self._by_key.get(key)
            if revocation is not None and (identity.issued_at is None or identity.issued_at < revocation.before):
                return revocation
        return None

    def page(self, after: Key | None, limit: int) -> list[Revocation]:
        """Return at most `limit` revocations whose keys sort after `after`, sorted."""
        keys = self._by_key if after is None else (key for key in self._by_key if key > after)
        return [self._by_key[key] for key in nsmallest(limit, keys)]


def _keys_of(identity: Identity) -> Iterator[Key]:
    if identity.token_id is not None:
        yield "jti", identity.token_id
    if identity.subject is not None:
        yield "sub", identity.subject
    for tag in identity.tags:
        yield "tag", tag

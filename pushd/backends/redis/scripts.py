"""The scripts that run in Redis, each atomic: the files in `lua/`, after the parts that they share."""

from dataclasses import dataclass
from hashlib import sha1
from importlib import resources

_FOLDER = resources.files("pushd.backends.redis") / "lua"


@dataclass(frozen=True, slots=True)
class Script:
    """A script, with the digest by which Redis caches it."""

    name: str
    source: bytes
    sha: bytes


def compose(name: str, text: bytes, *before: str) -> Script:
    """Return a script: the shared parts, then its own text."""
    parts = [(_FOLDER / f"{part}.lua").read_bytes() for part in ("prelude", *before)]
    source = b"\n".join([*parts, text])
    return Script(name, source, sha1(source, usedforsecurity=False).hexdigest().encode("ascii"))


def _script(name: str, *before: str) -> Script:
    return compose(name, (_FOLDER / f"{name}.lua").read_bytes(), *before)


PUBLISH = _script("publish", "append")
PUBLISH_WITH_HOOKS = _script("publish", "append", "hooks")
"""Needed only where hooks have events of the messages: the functions of that part take Redis some microseconds."""
HOOK = _script("hook", "append", "hooks")
OPEN = _script("open", "topics")
LAST = _script("last", "topics")
PAGE = _script("page", "topics")
LOSSES = _script("losses", "topics")
MISSED = _script("missed")
FETCH = _script("fetch")
LINK = _script("link")
JOIN = _script("join")
BEAT = _script("beat", "leases")
LEASE = _script("lease", "leases")
RELEASE = _script("release", "leases")
USAGE = _script("usage", "leases")
DROP_USAGE = _script("drop_usage", "leases")
RATES = _script("rates")
PRESENCE = _script("presence", "leases", "append", "hooks", "members")
SWEEP = _script("sweep", "leases", "append", "hooks", "members")
DROP_PRESENCE = _script("drop_presence", "leases", "append", "hooks", "members")
MARKS = _script("marks", "leases", "append", "hooks", "vacant")
DROP_MARKS = _script("drop_marks", "leases", "vacant")
WHO = _script("who", "leases", "append", "hooks", "members")
FORGET = _script("forget")
LOOK = _script("look")
REVOKE = _script("revoke")
UNREVOKE = _script("unrevoke")
KICK = _script("kick")
URL = _script("url")
RETAIN = _script("retain")
RECORD = _script("record")
ALL = (
    *(
        PUBLISH,
        PUBLISH_WITH_HOOKS,
        OPEN,
        LAST,
        PAGE,
        LOSSES,
        MISSED,
        FETCH,
        LINK,
        JOIN,
        BEAT,
        LEASE,
        RELEASE,
        FORGET,
        LOOK,
    ),
    *(REVOKE, UNREVOKE, KICK, URL, USAGE, DROP_USAGE, RATES, PRESENCE, SWEEP, DROP_PRESENCE, WHO, RETAIN, RECORD, HOOK),
    *(MARKS, DROP_MARKS),
)

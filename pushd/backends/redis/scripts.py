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


def _script(name: str, *before: str) -> Script:
    parts = ("prelude", *before, name)
    source = b"\n".join([(_FOLDER / f"{part}.lua").read_bytes() for part in parts])
    return Script(name, source, sha1(source, usedforsecurity=False).hexdigest().encode("ascii"))


PUBLISH = _script("publish")
OPEN = _script("open", "topics")
LAST = _script("last", "topics")
PAGE = _script("page", "topics")
LOSSES = _script("losses", "topics")
MISSED = _script("missed")
FETCH = _script("fetch")
LINK = _script("link")
JOIN = _script("join")
BEAT = _script("beat")
FORGET = _script("forget")
LOOK = _script("look")
REVOKE = _script("revoke")
UNREVOKE = _script("unrevoke")
KICK = _script("kick")
URL = _script("url")
RETAIN = _script("retain")
ALL = (
    PUBLISH,
    OPEN,
    LAST,
    PAGE,
    LOSSES,
    MISSED,
    FETCH,
    LINK,
    JOIN,
    BEAT,
    FORGET,
    LOOK,
    REVOKE,
    UNREVOKE,
    KICK,
    URL,
    RETAIN,
)

"""Static tokens with the grants that a test needs, and the files that declare them."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from pushd.core.grant import ACTIONS, OPERATIONS

Grants = Mapping[str, Sequence[str]]
"""Topics by action; ``deny`` and ``operate`` as in a tokens file."""

EVERYTHING: Grants = {**{action: ["**"] for action in ACTIONS}, "operate": ["*"]}
SETUP = "setup-Kq3vXw8ZpT5nRb1c"
"""A token to which everything is granted, with which a test prepares a daemon."""
HEARTBEATS = "room/online"
"""The channel of heartbeats."""


def only(rights: Sequence[str], topics: Sequence[str] = ("room/**",)) -> Grants:
    """Return a grant of some actions on topics and of some operations, and of nothing else."""
    return {
        **{action: list(topics) if action in rights else [] for action in ACTIONS},
        "operate": [operation for operation in OPERATIONS if operation in rights],
    }


def without(right: str) -> Grants:
    """Return a grant of everything except for one action or operation."""
    return {
        **{action: [] if action == right else ["**"] for action in ACTIONS},
        "operate": [operation for operation in OPERATIONS if operation != right],
    }


def bearer(token: str | None) -> dict[str, str]:
    """Return the header with a token; none without one."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class Credentials:
    """The configuration file and the tokens file of a daemon.

    :param folder: where they are written.
    :param more: further lines of the section [auth].
    """

    def __init__(self, folder: Path, more: str = "") -> None:
        self.file, self._tokens = folder / "pushd.toml", folder / "tokens.toml"
        self._more = more
        self.write({})

    def write(self, tokens: Mapping[str, Grants], anonymous: Grants | None = None) -> None:
        """Write both files.

        :param tokens: the grants by the text of the token.
        :param anonymous: the grant of peers without a token; None: nothing.
        """
        entries = [_entry(text, grants) for text, grants in {SETUP: EVERYTHING, **tokens}.items()]
        self._tokens.write_text("\n".join(entries))
        self._tokens.chmod(0o600)
        lines = ["[auth]", f"tokens_file = {json.dumps(str(self._tokens))}", self._more]
        if anonymous is not None:
            lines += ["[auth.anonymous]", *_lines(anonymous)]
        lines += ["[presence]", f'heartbeat_channel = "{HEARTBEATS}"']
        self.file.write_text("\n".join(lines) + "\n")


def subject_of(token: str) -> str:
    """Return the subject of a token, which has no part of it."""
    return f"user-{sha256(token.encode()).hexdigest()[:8]}"


def _entry(token: str, grants: Grants) -> str:
    digest = sha256(token.encode()).hexdigest()
    return "\n".join([f'[t{digest[:8]}]\nsha256 = "{digest}"\nsub = "{subject_of(token)}"', *_lines(grants)])


def _lines(grants: Grants) -> list[str]:
    return [f"{key} = {json.dumps(list(topics))}" for key, topics in grants.items()]

"""Static tokens: random strings in a file that has their hashes, subjects and grants.

The file is TOML with one table per token: its name is that of the token, ``sha256`` the hash of the token in
hexadecimal, ``sub`` the subject; the other keys are the grant. A token is revoked by removing its table.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, Self

from twisted.logger import Logger

from pushd.auth.token_checks import Verdict
from pushd.core.grant import Grant
from pushd.core.identity import MAX_SUBJECT_BYTES, STATIC, Identity

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")

TokenChange = Literal["token-added", "token-changed", "token-removed"]
"""What has happened to a token in its file."""


class StaticTokens:
    """Verifies static tokens. To reload a file, make a new object of it.

    :param identities: by the SHA-256 of the token.
    """

    log = Logger()

    def __init__(self, identities: Mapping[bytes, Identity]) -> None:
        self._identities = dict(identities)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file of tokens. Log a warning if users who do not own it can read or change it.

        :raises ValueError: when it cannot be read, or entries are invalid. The text has a line for each mistake: a
            sentence with the path, and the name of the token.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                tables = tomllib.load(file)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not TOML: {error}") from None
        tokens = cls(_by_hash(f"{path}", tables))
        if mode & (stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
            cls.log.warn(
                "{path} has mode {mode}: other users can read or change the tokens; set it to 600 or 640",
                path=str(path),
                mode=f"{stat.S_IMODE(mode):03o}",
            )
        return tokens

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self._identities)

    def current(self, identity: Identity) -> Identity | None:
        """Return the identity that the token of an identity has now; None if the token has been removed."""
        return None if identity.token_id is None else self._identities.get(bytes.fromhex(identity.token_id))

    def names_of(self, matches: Callable[[Identity], bool]) -> list[str]:
        """Return the names of the tokens whose identity matches, sorted."""
        return sorted(each.issuer.removeprefix(STATIC) for each in self._identities.values() if matches(each))

    def changes_since(self, earlier: "StaticTokens") -> Iterator[tuple[TokenChange, Identity]]:
        """Yield the tokens that were added, changed or removed since an earlier version of the file, by name."""
        before, after = earlier._by_name(), self._by_name()
        yield from (("token-removed", each) for name, each in before.items() if name not in after)
        for name, identity in after.items():
            if name not in before:
                yield "token-added", identity
            elif identity != before[name]:
                yield "token-changed", identity

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`.

        The time of the lookup does not depend on the tokens: a dictionary compares keys only if their SipHashes, which
        are keyed with a secret of the process, are equal.
        """
        return self._identities.get(sha256(token.encode("utf-8", "surrogatepass")).digest())

    async def examine(self, token: str) -> Verdict | None:
        """See `Verifier`."""
        identity = await self.verify(token)
        return None if identity is None else Verdict(identity, issuer=identity.issuer)

    def _by_name(self) -> dict[str, Identity]:
        return {identity.issuer: identity for identity in self._identities.values()}


def _by_hash(where: str, tables: Mapping[str, object]) -> dict[bytes, Identity]:
    """Return the identities.

    :raises ValueError: with a line for each token that is invalid.
    """
    identities: dict[bytes, Identity] = {}
    mistakes = []
    for name, table in tables.items():
        try:
            digest, identity = _entry(where, name, table)
        except ValueError as error:
            mistakes.append(str(error))
            continue
        other = identities.setdefault(digest, identity)
        if other is not identity:
            names = " and ".join(each.issuer.removeprefix(STATIC) for each in (other, identity))
            mistakes.append(f"{where}: tokens {names} have the same sha256")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return identities


def _entry(where: str, name: str, table: object) -> tuple[bytes, Identity]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: name of a token must have 1 to 64 letters, digits, - and _ (got {name!a:.80})")
    if not isinstance(table, dict):
        raise ValueError(f"{where}: {name} must be the table of a token, written [{name}]")
    where = f"{where}: token {name}"
    digest, subject = table.get("sha256"), table.get("sub")
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise ValueError(f"{where}: sha256 must be the SHA-256 of the token, 64 hexadecimal digits")
    if not isinstance(subject, str) or not 0 < len(subject.encode()) <= MAX_SUBJECT_BYTES:
        raise ValueError(f"{where}: sub must be the subject, a string of 1 to {MAX_SUBJECT_BYTES} bytes")
    entries = {key: value for key, value in table.items() if key not in ("sha256", "sub")}
    grant = Grant.parse(entries, subject, where=where)
    return bytes.fromhex(digest), Identity(subject, grant, f"{STATIC}{name}", token_id=digest.lower(), tags=grant.tags)

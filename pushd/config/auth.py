"""Settings of authentication: the section [auth] of the file, and the grant of anonymous peers in [auth.anonymous]."""

import re
from dataclasses import dataclass

from pushd.auth.url_signature import check_secret
from pushd.config.callback import CallbackSettings
from pushd.config.fields import setting
from pushd.config.issuers import IssuerSettings
from pushd.config.key_files import read_key_file
from pushd.config.mistakes import InvalidSettings, KeyPath, Mistake, Mistakes, key_of, shown
from pushd.config.parsers import duration, flag, nonblank_string, text
from pushd.core.grant import NOTHING, Grant

_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""A token of RFC 9110, section 5.6.2, which the name of a cookie is (RFC 6265, section 4.1.1)."""
ANONYMOUS = "anonymous"
"""The name of the section within [auth] with the grant of anonymous peers."""
ISSUER = "issuer"
"""The name of the table within [auth] whose sections are the issuers of JSON Web Tokens."""
URL_KEYS = "url_keys"
"""The name of the section within [auth] with the keys of signed URLs."""
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def cookie_name(value: object) -> str:
    """Return the name of a cookie, which may be empty."""
    if value != "" and not (isinstance(value, str) and _COOKIE.fullmatch(value)):
        raise ValueError(f"{shown(value)} is not the name of a cookie (example: __Host-pushd)")
    return str(value)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Authentication and authorization. If none of these is set, everything is allowed."""

    tokens_file: str = setting("", text, "The file of static tokens; if empty, there are none.", "path")
    cookie: str = setting(
        "__Host-pushd", cookie_name, "The cookie whose value is taken as a token; if empty, none is.", "cookie name"
    )
    query_tokens: bool = setting(
        False,
        flag,
        "Whether the parameter token of an address is taken as a token; addresses appear in logs of proxies.",
        "true or false",
    )
    revocations_file: str = setting(
        "",
        text,
        "With the memory backend, the file that keeps revocations over a restart; if empty, none does.",
        "path",
        at_restart=True,
    )
    blind_seconds: float = setting(
        "30s",
        duration(minimum=2),
        "How long tokens are accepted without contact to the backend, which may have newer revocations.",
        "seconds",
    )
    grace: float = setting(
        25,
        duration(minimum=0, maximum=3600),
        "How long a connection stays open after its token has expired, unless the token is renewed.",
        "seconds",
    )
    anonymous: Grant = NOTHING
    """The grant of a peer without a credential, if authentication is enabled."""
    issuers: tuple[IssuerSettings, ...] = ()
    """The issuers of JSON Web Tokens."""
    url_keys: tuple[tuple[str, str], ...] = ()
    """The keys of signed URLs: the id and the file of each."""
    callback: CallbackSettings | None = None
    """The callback to the application, if there is one."""
    is_enabled: bool = False
    """Whether any setting of the section is set, even to its default."""


def read_anonymous(table: object) -> Grant:
    """Return the grant of anonymous peers.

    :param table: the value of `auth.anonymous` in the file.
    :raises InvalidSettings: with all mistakes.
    """
    path = ("auth", ANONYMOUS)
    mistakes = Mistakes()
    for key, value in _section(path, table).items():  # each key alone, so that each is reported
        try:
            Grant.parse({key: value}, None, where=key_of(path))
        except ValueError as error:
            mistakes.add((*path, key), str(error), names_key=True)
    mistakes.check()
    return Grant.parse(_section(path, table), None, where=key_of(path))


def read_url_keys(table: object) -> tuple[tuple[str, str], ...]:
    """Return the id and the file of each key of signed URLs.

    :param table: the value of `auth.url_keys` in the file.
    :raises InvalidSettings: with all mistakes.
    """
    path = ("auth", URL_KEYS)
    mistakes = Mistakes()
    files = []
    for key_id, file in _section(path, table).items():
        if not _KEY_ID.fullmatch(key_id):
            mistakes.add((*path, key_id), "id of a key must have 1 to 64 letters, digits, - and _")
        with mistakes.collected((*path, key_id)):
            files.append((key_id, nonblank_string(file)))
    mistakes.check()
    return tuple(files)


def build_url_keys(settings: tuple[tuple[str, str], ...]) -> dict[str, bytes]:
    """Return the secrets of signed URLs by the ids of their keys, after reading their files.

    :raises InvalidSettings: with each file that cannot be read, or whose secret is unusable.
    """
    mistakes = Mistakes()
    secrets = {}
    for key_id, file in settings:
        with mistakes.collected():
            path = ("auth", URL_KEYS, key_id)
            secrets[key_id] = read_key_file(path, file, lambda content, _: check_secret(content))
    mistakes.check()
    return secrets


def _section(path: KeyPath, table: object) -> dict[str, object]:
    if not isinstance(table, dict):
        raise InvalidSettings([Mistake(path, f"must be a section, written [{key_of(path)}]")])
    return table

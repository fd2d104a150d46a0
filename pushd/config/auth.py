"""Settings of authentication: the section [auth] of the file, and the grant of anonymous peers in [auth.anonymous]."""

import re
from dataclasses import dataclass

from pushd.config.fields import setting
from pushd.config.issuers import IssuerSettings
from pushd.config.parsers import flag, text
from pushd.core.grant import NOTHING, Grant

_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""A token of RFC 9110, section 5.6.2, which the name of a cookie is (RFC 6265, section 4.1.1)."""
ANONYMOUS = "anonymous"
"""The name of the section within [auth] with the grant of anonymous peers."""
ISSUER = "issuer"
"""The name of the table within [auth] whose sections are the issuers of JSON Web Tokens."""


def cookie_name(value: object) -> str:
    """Return the name of a cookie, which may be empty."""
    if value != "" and not (isinstance(value, str) and _COOKIE.fullmatch(value)):
        raise ValueError(f"{value!r} is not the name of a cookie (example: __Host-pushd)")
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
    anonymous: Grant = NOTHING
    """The grant of a peer without a credential, if authentication is enabled."""
    issuers: tuple[IssuerSettings, ...] = ()
    """The issuers of JSON Web Tokens."""
    is_enabled: bool = False
    """Whether any setting of the section is set, even to its default."""


def read_anonymous(table: object) -> Grant:
    """Return the grant of anonymous peers.

    :param table: the value of `auth.anonymous` in the file.
    :raises ValueError: when it is invalid. The text begins with its key.
    """
    if not isinstance(table, dict):
        raise ValueError("auth.anonymous must be a section, written [auth.anonymous]")
    return Grant.parse(table, None, where="auth.anonymous")

"""Settings of issuers of JSON Web Tokens: the keys of a section [auth.issuer.NAME] of the file.

The fields of the class are settings as in `pushd.config.table`. They have no option and no environment variable,
because the names of issuers are up to the operator.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from pushd.auth.claims import GRANT_KEYS, ClaimRules
from pushd.auth.jwt import FixedKeys, Issuer, KeySource
from pushd.auth.verification_keys import (
    ASYMMETRIC,
    SYMMETRIC,
    KeySet,
    parse_key_set,
    parse_pem,
    parse_secret,
    with_synonyms,
)
from pushd.config.fields import read_fields, required, setting
from pushd.config.key_files import read_key_file, read_key_files
from pushd.config.mistakes import InvalidEntries, InvalidSettings, KeyPath, Mistake, Mistakes, key_of, shown, suggestion
from pushd.config.parsers import duration, flag, nonblank_string, string_list, text
from pushd.config.server_urls import is_protected, server_url

OpenJwks = Callable[[str, str], KeySource]
"""Returns the keys of an issuer, by the name of its section, at a URL."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PATH = ("auth", "issuer")
_KEY_SETTINGS = ("jwks_url", "keys_file", "secret_files")


def audiences(value: object) -> tuple[str, ...]:
    """Return a list of audiences: a list, or one string."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{shown(value)} is neither a string nor a list of strings")
    return tuple(map(nonblank_string, entries))


def algorithm(word: str) -> str:
    """Return the name of an algorithm, which is case-sensitive."""
    known = (*SYMMETRIC, *ASYMMETRIC)
    if word not in known:
        raise ValueError(f"{word!r} is not one of {', '.join(known)}{suggestion(word, known)}")
    return word


def algorithms(value: object) -> tuple[str, ...]:
    """Return a list of algorithms: all symmetric, or all asymmetric."""
    names = string_list(algorithm)(value)
    if not names:
        raise ValueError("must name at least one algorithm")
    if not (set(names) <= set(SYMMETRIC) or set(names) <= set(ASYMMETRIC)):
        raise ValueError("must be either all HS256, HS384 and HS512, or none of them (RFC 8725, section 3.5)")
    return names


jwks_url = server_url("https://login.example.org/jwks.json")


def claims_map(value: object) -> tuple[tuple[str, str], ...]:
    """Return keys of the grant with the claims from which they are taken."""
    if not isinstance(value, dict):
        raise ValueError(f'{shown(value)} is not a table (example: {{ subscribe = "channels" }})')
    reasons: dict[str | int, str] = {}
    for key, claim in value.items():
        try:
            nonblank_string(claim)
        except ValueError as error:
            reasons[key] = f"{key_of((key,))}: {error}"
        if key not in GRANT_KEYS:
            reasons[key] = f"unknown key {key_of((key,))} (one of {', '.join(GRANT_KEYS)}){suggestion(key, GRANT_KEYS)}"
    if reasons:
        raise InvalidEntries(reasons)
    return tuple(value.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """An issuer of JSON Web Tokens."""

    name: str
    issuer: str = required(nonblank_string, "The claim `iss` of its tokens, exactly.", "text")
    audience: tuple[str, ...] = required(
        audiences, "What the claim `aud` must contain; of several, one.", "text or list"
    )
    algorithms: tuple[str, ...] = required(algorithms, "The algorithms that are accepted.", "list of names")
    jwks_url: str = setting("", jwks_url, "The URL of its public keys.", "URL")
    keys_file: str = setting("", text, "A file of its public keys: a JWK set, or PEM.", "path")
    secret_files: tuple[str, ...] = setting(
        [],
        string_list(nonblank_string),
        "Files of the secret that it shares with pushd; two while it is replaced.",
        "paths",
    )
    claims_map: tuple[tuple[str, str], ...] = setting(
        {},
        claims_map,
        "The claim from which each key of the grant is taken; if empty, the claim `pushd` is the grant.",
        "table",
    )
    max_lifetime: float = setting("24h", duration(), "The longest time from `iat` to `exp`.", "seconds")
    allow_http: bool = setting(
        False,
        flag,
        "Allow an http:// URL to other machines: who controls the network can forge tokens.",
        "true or false",
    )

    def build(self, open_jwks: OpenJwks) -> Issuer:
        """Return the issuer, after reading its files.

        :raises InvalidSettings: with each file that cannot be read, or whose key is unusable.
        """
        rules = ClaimRules(frozenset(self.audience), self.max_lifetime, dict(self.claims_map) or None)
        keys = open_jwks(self.name, self.jwks_url) if self.jwks_url else FixedKeys(self._read_keys())
        return Issuer(self.name, self.issuer, with_synonyms(self.algorithms), keys, rules)

    def _read_keys(self) -> KeySet:
        if self.keys_file:
            path = (*_PATH, self.name, "keys_file")
            keys = read_key_file(path, self.keys_file, _parse_keys)
            if not any(keys.candidates(None, name) for name in with_synonyms(self.algorithms)):
                reason = f"{self.keys_file}: contains no key for the algorithms {', '.join(self.algorithms)}"
                raise InvalidSettings([Mistake(path, reason)])
            return keys
        return KeySet(list(read_key_files((*_PATH, self.name, "secret_files"), self.secret_files, parse_secret)))


def read_issuers(tables: object) -> tuple[IssuerSettings, ...]:
    """Return the issuers of a configuration file.

    :param tables: the value of `auth.issuer` in the file: a table by the name of each issuer.
    :raises InvalidSettings: with all mistakes.
    """
    mistakes = Mistakes()
    if not isinstance(tables, dict):
        mistakes.add(_PATH, "must be a table of sections, written [auth.issuer.NAME]")
        tables = {}
    issuers = []
    for name, table in tables.items():
        with mistakes.collected():
            issuers.append(_read_issuer(name, table))
    names: dict[str, str] = {}
    for each in issuers:
        other = names.setdefault(each.issuer, each.name)
        if other != each.name:
            mistakes.add((*_PATH, each.name, "issuer"), f"must differ from {key_of((*_PATH, other, 'issuer'))}")
    mistakes.check()
    return tuple(issuers)


def build_issuers(settings: tuple[IssuerSettings, ...], open_jwks: OpenJwks) -> tuple[Issuer, ...]:
    """Return the issuers, after reading their files: at the start and at each reload.

    :raises InvalidSettings: with each file that cannot be read, or whose key is unusable.
    """
    mistakes = Mistakes()
    issuers = []
    for each in settings:
        with mistakes.collected():
            issuers.append(each.build(open_jwks))
    mistakes.check()
    return tuple(issuers)


def _read_issuer(name: str, table: object) -> IssuerSettings:
    path = (*_PATH, name)
    mistakes = Mistakes()
    if not _NAME.fullmatch(name):
        mistakes.add(path, "name must have 1 to 64 letters, digits, - and _")
    with mistakes.collected():
        settings = read_fields(path, IssuerSettings, table, name=name)
        _check_keys(path, settings, mistakes)
    mistakes.check()
    return settings


def _check_keys(path: KeyPath, settings: IssuerSettings, mistakes: Mistakes) -> None:
    """Check that there is one source of keys, and that it is for the algorithms."""
    given = [name for name in _KEY_SETTINGS if getattr(settings, name)]
    if len(given) != 1:
        mistakes.add(path, f"must have exactly one of {', '.join(_KEY_SETTINGS)}")
        return
    is_symmetric = settings.algorithms[0] in SYMMETRIC
    if is_symmetric != (given[0] == "secret_files"):
        needed = "secret_files" if is_symmetric else "jwks_url or keys_file"
        mistakes.add((*path, given[0]), f"algorithm {settings.algorithms[0]} needs {needed} instead")
    if len(settings.secret_files) > 2:
        mistakes.add((*path, "secret_files"), "must name one or two files")
    if not (settings.allow_http or is_protected(settings.jwks_url)):
        reason = "must begin with https://, unless its host is loopback or allow_http is set"
        mistakes.add((*path, "jwks_url"), reason)


def _parse_keys(content: bytes, key_id: str) -> KeySet:
    """Return the keys of a file: a JWK set, or PEM. Here, other than at a URL, an unusable key is an error."""
    if not content.lstrip().startswith(b"{"):
        return KeySet(parse_pem(content, key_id))
    try:
        keys = parse_key_set(json.loads(content))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if keys.unusable:
        raise ValueError(keys.unusable[0])
    return keys

"""Settings of the callback to the application: the section [auth.callback] of the file.

The fields of the class are settings as in `pushd.config.table`, without an option and an environment variable.
"""

import re
from dataclasses import dataclass
from typing import cast

from pushd.auth.callback_client import CallbackEndpoint
from pushd.auth.callback_question import CALLBACK_ACTIONS, CallbackAction
from pushd.config.fields import read_fields, required, setting
from pushd.config.key_files import read_key_files
from pushd.config.mistakes import Mistakes, suggestion
from pushd.config.parsers import Parser, duration, flag, nonblank_string, string_list
from pushd.config.server_urls import is_protected, server_url
from pushd.wire.webhook_signature import MAX_SECRETS, parse_secret

CALLBACK = "callback"
"""The name of the section within [auth]."""
_PATH = ("auth", CALLBACK)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_MOST_HEADERS = 16
_url = server_url("https://app.example.org/pushd/callback")


def callback_url(value: object) -> str:
    """Return the URL of the application."""
    return _url(nonblank_string(value))


def action(word: str) -> CallbackAction:
    """Return an action about which the application is asked."""
    if word not in CALLBACK_ACTIONS:
        known = ", ".join(CALLBACK_ACTIONS)
        raise ValueError(f"{word!r} is not one of {known}{suggestion(word, CALLBACK_ACTIONS)}")
    return word


def header(word: str) -> str:
    """Return the name of a header (RFC 9110, section 5.1)."""
    if not _HEADER.fullmatch(word):
        raise ValueError(f"{word!r} is not the name of a header (example: Cookie)")
    return word


def _distinct(parse: Parser[tuple[str, ...]], most: int, least: int = 0) -> Parser[tuple[str, ...]]:
    """Return a parser of lists with a number of entries, no two of which differ in case only."""

    def parse_list(value: object) -> tuple[str, ...]:
        words = parse(value)
        if not least <= len(words) <= most:
            raise ValueError(f"must have {f'{least} to' if least else 'at most'} {most} entries")
        if len({word.lower() for word in words}) != len(words):
            raise ValueError("must not have an entry twice")
        return words

    return parse_list


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """The callback to the application."""

    url: str = required(callback_url, "Where the application is asked.", "URL")
    secret_files: tuple[str, ...] = required(
        string_list(nonblank_string),
        "Files of the secret that signs requests, in the form `whsec_…`; two while it is replaced.",
        "paths",
    )
    actions: tuple[str, ...] = setting(
        list(CALLBACK_ACTIONS),
        _distinct(string_list(action), len(CALLBACK_ACTIONS), 1),
        "About what it is asked.",
        "list of actions",
    )
    timeout: float = setting(
        1,
        duration(minimum=0.05, maximum=30),
        "How long a request may take; and how long a question waits until the request can be sent.",
        "seconds",
    )
    forward_headers: tuple[str, ...] = setting(
        [],
        _distinct(string_list(header), _MOST_HEADERS),
        "The headers of HTTP requests that are forwarded to the application, such as `Cookie`.",
        "list of names",
    )
    allow_http: bool = setting(
        False,
        flag,
        "Allow an http:// URL to other machines: who controls the network can read what is forwarded, and allow all.",
        "true or false",
    )

    def build(self) -> CallbackEndpoint:
        """Return the endpoint, after reading the files.

        :raises InvalidSettings: with each that cannot be read, or whose secret is unusable.
        """
        path = (*_PATH, "secret_files")
        keys = read_key_files(path, self.secret_files, lambda content, _: parse_secret(content))
        actions = frozenset(cast(CallbackAction, each) for each in self.actions)
        return CallbackEndpoint(self.url, keys, actions, self.timeout, self.forward_headers)


def read_callback(table: object) -> CallbackSettings:
    """Return the callback of a configuration file.

    :param table: the value of `auth.callback` in the file.
    :raises InvalidSettings: with all mistakes.
    """
    settings = read_fields(_PATH, CallbackSettings, table)
    mistakes = Mistakes()
    if not 1 <= len(settings.secret_files) <= MAX_SECRETS:
        mistakes.add((*_PATH, "secret_files"), "must name one or two files")
    if not (settings.allow_http or is_protected(settings.url)):
        mistakes.add((*_PATH, "url"), "must begin with https://, unless its host is loopback or allow_http is set")
    mistakes.check()
    return settings

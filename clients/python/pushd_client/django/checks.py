"""System checks of the settings. `check --deploy` also asks the daemon, and reports warnings if it does not answer."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from ..errors import AuthenticationFailed, PushdError
from ..key_material import read_secret
from ..sync import Pushd
from ..url_signature import sign_url
from ..webhooks import parse_webhook_secret
from . import conf

TAG = "pushd"


@register(TAG)
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings, without the daemon."""
    raw = getattr(settings, conf.NAME, None)
    if not isinstance(raw, Mapping):
        hint = 'Add PUSHD = {"URL": "http://127.0.0.1:8080"} to the settings of the project.'
        return [Error("PUSHD must be a dictionary in the settings.", hint=hint, id="pushd.E001")]
    found = list(_unknown(raw))
    values = {**conf.DEFAULTS, **raw}
    for name, check in _CHECKS.items():
        if values[name] is not None:
            try:
                check(values[name])
            except (ValueError, TypeError, OSError) as error:
                number, hint = _HINTS[name]
                found.append(Error(f'PUSHD["{name}"]: {_sentence(error)}', hint=hint, id=f"pushd.{number}"))
    return found


@register(TAG, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Check what matters in production: that URLs are signed, and that the daemon answers and accepts the token."""
    if check_settings():
        return []
    present = conf.load()
    found: list[CheckMessage] = []
    if present.values["URL_KEY"] is None:
        text = 'PUSHD["URL_KEY"] is not set: the URLs in pages are not signed.'
        hint = "Everybody who can reach pushd may subscribe to what [auth.anonymous] of pushd grants, or to everything."
        found.append(Warning(text, hint=hint, id="pushd.W001"))
    found += _answer_of(present.values["URL"], present.cursor_client)
    present.close()
    return found


def _answer_of(url: str, client: Pushd) -> Iterator[CheckMessage]:
    try:
        client.cursor()
    except AuthenticationFailed as error:
        hint = 'Set PUSHD["TOKEN"] to a token of `pushctl token add`, and reload pushd.'
        yield Warning(f"pushd at {url} refuses the token: {error}", hint=hint, id="pushd.W003")
    except PushdError as error:
        hint = 'Start it (`twistd -n pushd`), or change PUSHD["URL"]. Pages are rendered without it; messages are lost.'
        yield Warning(f"pushd does not answer at {url}: {error}", hint=hint, id="pushd.W002")


def _unknown(raw: Mapping[Any, object]) -> Iterator[CheckMessage]:
    for name in raw:
        if name not in conf.DEFAULTS:
            similar = get_close_matches(str(name).upper(), conf.DEFAULTS, 1)
            hint = f'Did you mean "{similar[0]}"?' if similar else f"Settings are {', '.join(conf.DEFAULTS)}."
            yield Error(f'PUSHD["{name}"] is no setting.', hint=hint, id="pushd.E002")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}."
    return f"{error}."


def _check_url(url: object) -> None:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"must be http://HOST[:PORT] or https://HOST[:PORT], perhaps with a path (got {url!r})")


def _check_public_url(url: object) -> None:
    if not isinstance(url, str) or not url.startswith("/"):
        _check_url(url)
    if set(str(url)) & set("\"'<>&; \\"):
        raise ValueError("must not contain quotes, white space and < > & ; \\")


def _check_token(token: Any) -> None:
    if not read_secret(token).strip():
        raise ValueError("must not be empty")


def _check_key(key: Any) -> None:
    if not isinstance(key, (tuple, list)) or len(key) != 2:
        raise ValueError("must be a tuple of an id and a secret")
    sign_url("/sse/check", (key[0], key[1]))


def _check_seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise ValueError(f"must be a positive number of seconds (got {value!r})")


def _check_secrets(value: Any) -> None:
    for secret in value if isinstance(value, (list, tuple)) else [value]:
        parse_webhook_secret(secret)


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "URL": _check_url,
    "PUBLIC_URL": _check_public_url,
    "TOKEN": _check_token,
    "URL_KEY": _check_key,
    "EXP": _check_seconds,
    "UNTIL": _check_seconds,
    "TIMEOUT": _check_seconds,
    "HOOK_SECRET": _check_secrets,
    "CALLBACK_SECRET": _check_secrets,
}
_SECONDS_HINT = "Remove it to use the default."
_WEBHOOK_HINT = "`openssl rand -base64 32 | sed s/^/whsec_/ > FILE` makes one; pushd reads the same file."
_HINTS: Mapping[str, tuple[str, str]] = {
    "URL": ("E003", "It is the address of pushd as this application reaches it, such as http://127.0.0.1:8080."),
    "PUBLIC_URL": (
        "E004",
        "It is the address of pushd as browsers reach it, such as https://example.org or /push.",
    ),
    "TOKEN": ("E005", "`pushctl token add NAME --publish TOPICS --file tokens.toml > FILE` makes one; set Path(FILE)."),
    "URL_KEY": ("E006", '`openssl rand -base64 48 > web.key` makes a key; set ("web", Path("web.key")).'),
    "EXP": ("E007", _SECONDS_HINT),
    "UNTIL": ("E007", _SECONDS_HINT),
    "TIMEOUT": ("E007", _SECONDS_HINT),
    "HOOK_SECRET": ("E008", _WEBHOOK_HINT),
    "CALLBACK_SECRET": ("E008", _WEBHOOK_HINT),
}

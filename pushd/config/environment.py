"""The variables of the environment that are settings, and those that others set.

Kubernetes sets variables for each Service of a namespace in every container, by the name of the Service
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables): for one called `pushd`,
PUSHD_SERVICE_HOST, PUSHD_PORT and more.
"""

import re
from collections.abc import Iterator, Mapping

from pushd.config.mistakes import shown, suggestion
from pushd.config.table import SETTINGS, Setting

_PREFIX = "PUSHD_"
_BY_VARIABLE = {row.variable: row for row in SETTINGS}
_HINTS = {f"{_PREFIX}{row.alias}".upper().replace("-", "_"): row.variable for row in SETTINGS if row.alias}
"""The variable to suggest for each word that is an option, but no variable."""
_OF_CLIENTS = frozenset({"PUSHD_TOKEN", "PUSHD_TOKEN_FILE"})
"""The variables of pushctl, which the environment of the daemon may contain."""
_LINK = re.compile(
    r"PUSHD_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR))"
)
_URL_LINK = re.compile(r"PUSHD_(?:\w+_)?PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?")
"""Links whose value is a URL. A setting may have such a name, PUSHD_HTTP_REUSE_PORT, but none accepts such a value."""
_URL = re.compile(r"(?:tcp|udp|sctp)://\S+:[0-9]+")


def variables(environ: Mapping[str, str]) -> Iterator[tuple[str, Setting | None]]:
    """Yield the variables that are meant for the daemon with their settings, sorted; None: it has no such setting."""
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in _OF_CLIENTS and not _is_link(name, environ[name]):
            yield name, _BY_VARIABLE.get(name)


def unknown_variable(name: str) -> str:
    """Return the sentence about a variable that is no setting."""
    hint = suggestion(name, (*_BY_VARIABLE, *_HINTS), lambda word: _HINTS.get(word, word))
    return f"environment: unknown variable {name if name.isprintable() else shown(name)}{hint}"


def service_links(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that Kubernetes has set for Services, sorted."""
    return sorted(name for name in environ if _is_link(name, environ[name]))


def _is_link(name: str, value: str) -> bool:
    is_url = _URL_LINK.fullmatch(name) and _URL.fullmatch(value)
    return bool(is_url or _LINK.fullmatch(name))

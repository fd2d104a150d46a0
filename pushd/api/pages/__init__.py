"""The pages that come with the daemon: the index, the demonstrations, the console, and the client for pages of the
application.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

_FILES = files(__name__)

FAVICON = _FILES.joinpath("favicon.ico").read_bytes()

_COLOURS = _FILES.joinpath("parts", "colours.css").read_bytes()
_STYLE = _COLOURS + _FILES.joinpath("parts", "style.css").read_bytes()
_SOURCE = _FILES.joinpath("parts", "source.html").read_bytes().strip()

_DEMOS = {
    "chat": "Chat",
    "websocket": "WebSocket",
    "image": "Live image",
    "document": "Document",
    "words": "Finite stream",
    "dashboard": "Dashboard",
    "performance": "Performance",
    "longpoll": "Long polling",
    "pull": "Client pull",
}
"""The names of the demonstrations, and what the navigation calls them."""


def _header(current: str) -> bytes:
    """Return the navigation of a demonstration."""
    links = "".join(
        f'<a href="{name}"{" aria-current=page" * (name == current)}>{title}</a>\n' for name, title in _DEMOS.items()
    )
    brand = '<a class="brand" href="../">pushd</a>'
    return f'<header class="bar">\n{brand}\n<nav aria-label="Demonstrations">\n{links}</nav>\n</header>'.encode()


def _demo(name: str) -> bytes:
    """Return the page of a demonstration, with what all of them share."""
    page = _FILES.joinpath("demo", f"{name}.html").read_bytes()
    for place, part in (
        (b"/* style.css */", _STYLE),
        (b"<!-- navigation -->", _header(name)),
        (b"<!-- source -->", _SOURCE),
    ):
        page = page.replace(place, part)
    return page


def _hash(page: bytes, element: bytes) -> bytes:
    """Return the source of a Content Security Policy for an element of a page (CSP Level 3, section 2.3.1)."""
    start, end = page.index(b"<" + element), page.index(b"</" + element)
    return b"'sha256-%b'" % b64encode(sha256(page[page.index(b">", start) + 1 : end]).digest())


INDEX = _FILES.joinpath("index.html").read_bytes().replace(b"/* style.css */", _STYLE)
INDEX_POLICY = (
    b"default-src 'none'; script-src 'self' %b; style-src %b; connect-src 'self'; img-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
) % (_hash(INDEX, b"script"), _hash(INDEX, b"style"))
DEMOS = {name: _demo(name) for name in ("index", *_DEMOS)}
"""Demonstrations by name, ``index`` among them."""

SCRIPTS = {file.name: file.read_bytes() for file in _FILES.joinpath("client").iterdir() if file.name.endswith(".js")}
"""The browser client: built from ``clients/js``."""

CONSOLE = {file.name: file.read_bytes() for file in _FILES.joinpath("console").iterdir() if file.is_file()}
CONSOLE["console.css"] = _COLOURS + CONSOLE["console.css"]
"""The files of the console by name."""

"""The pages that come with the daemon: the index, the demonstrations, the console, and the client for pages of the
application.
"""

from importlib.resources import files

_FILES = files(__name__)

INDEX = _FILES.joinpath("index.html").read_bytes()
FAVICON = _FILES.joinpath("favicon.ico").read_bytes()

_STYLE = _FILES.joinpath("demo", "style.css").read_bytes().strip()
DEMOS = {
    file.name.removesuffix(".html"): file.read_bytes().replace(b"/* style.css */", _STYLE)
    for file in _FILES.joinpath("demo").iterdir()
    if file.name.endswith(".html")
}
"""Demonstrations by name, ``index`` among them."""

SCRIPTS = {file.name: file.read_bytes() for file in _FILES.joinpath("client").iterdir() if file.name.endswith(".js")}
"""The browser client: built from ``clients/js``."""

CONSOLE = {file.name: file.read_bytes() for file in _FILES.joinpath("console").iterdir() if file.is_file()}
"""The files of the console by name."""

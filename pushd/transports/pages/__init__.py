"""The pages that come with the daemon: the list of doors, the demonstrations, and what Chromium needs for documents."""

from importlib.resources import files

_FILES = files(__name__)

INDEX = _FILES.joinpath("index.html").read_bytes()
FAVICON = _FILES.joinpath("favicon.ico").read_bytes()
REPLACING_PAGE = _FILES.joinpath("replacing.html").read_bytes()
"""Reads a multipart stream by fetch and shows each part in place of itself."""

_STYLE = _FILES.joinpath("demo", "style.css").read_bytes().strip()
DEMOS = {
    file.name.removesuffix(".html"): file.read_bytes().replace(b"/* style.css */", _STYLE)
    for file in _FILES.joinpath("demo").iterdir()
    if file.name.endswith(".html")
}
"""Demonstrations by name, ``index`` among them."""

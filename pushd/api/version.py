"""The version of the daemon."""

import platform
from importlib.metadata import version

from pushd import __version__
from pushd.http.answers import json_answer
from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpResource
from pushd.hub.authorization import check_authenticated


class VersionResource(HttpResource):
    """``GET /version``: the versions of pushd, Python and Twisted, for peers with any credential."""

    async def get(self, request: Request) -> Answer:
        """Answer with the versions."""
        require_no_subpath(request)
        check_authenticated(request.peer, "the version")
        versions = {"version": __version__, "python": platform.python_version(), "twisted": version("twisted")}
        return json_answer(request, {"server": "pushd"} | versions)

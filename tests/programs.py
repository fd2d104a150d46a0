"""Programs and packages that tests use if they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/bin:/usr/local/sbin"
_NODE_PACKAGES: Final = Path(sys.prefix) / "node" / "node_modules"

_RUNTIMES: Final = {"deno": "@deno/*/deno", "bun": "@oven/bun-*/bin/bun"}
"""Where the packages for each platform have the executables: npm installs those that run here."""

_CLIENT: Final = Path(__file__).parent.parent / "clients" / "js"


def find_program(name: str, package: str) -> str:
    """Return the path of a program. Without it, skip the test, or fail it in continuous integration.

    :param package: the Debian package that contains it.
    """
    return shutil.which(name, path=_PATH) or _is_missing(f"{name} is not installed (Debian: apt-get install {package})")


def find_node_package(name: str) -> Path:
    """Return the directory of a JavaScript package. Without it, skip the test, or fail it in continuous integration."""
    directory = _NODE_PACKAGES / name
    return directory if directory.is_dir() else _is_missing(f"the package {name} is not installed: run .ci/node")


def find_javascript_runtime(name: str) -> Path:
    """Return the path of Deno or Bun. Without it, skip the test, or fail it in continuous integration."""
    for path in sorted(_NODE_PACKAGES.glob(_RUNTIMES[name])):
        if subprocess.run([path, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            return path
    return _is_missing(f"the package {name} is not installed: run .ci/node")


def find_client_node() -> tuple[str, Path]:
    """Return the path of Node.js, and the directory of the browser client with its packages. Without them, skip the
    test, or fail it in continuous integration.
    """
    node = find_program("node", "nodejs")
    if not (_CLIENT / "node_modules").is_dir():
        _is_missing("the packages of clients/js are not installed: run .ci/node")
    return node, _CLIENT


def _is_missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)

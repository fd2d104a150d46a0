"""What the build needs beside pyproject.toml: the plugin directory of Twisted, and the optional C extension."""

import os
import re
import tomllib
from pathlib import Path

from setuptools import Extension, find_packages, setup

ETC = sorted(str(path) for path in Path("etc").iterdir())
# Optional: without a compiler, pushd uses the Python code in pushd/net/fan_out.py.
FAN_OUT = Extension("pushd.net._fan_out", ["pushd/net/_fan_out.c"], py_limited_api=True, optional=True)
IS_PURE = bool(os.environ.get("PUSHD_PURE_WHEEL"))
PROJECT = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]


def with_absolute_links(page: str, urls: dict[str, str]) -> str:
    """Return a page whose links and images work outside the repository.

    They are completed by the URLs "Files" and "Images" in ``[project.urls]``: where a browser finds the files of the
    repository, and their bytes. Without such a URL the links stay relative.
    """
    for label, pattern in (
        ("Images", r"(!\[[^\]]*\]\()(?![a-z]+:|#)"),
        ("Files", r"((?<!!)\[[^\]]*\]\()(?![a-z]+:|#)"),
    ):
        if base := urls.get(label):
            page = re.sub(pattern, rf"\g<1>{base.rstrip('/')}/", page)
    return page


setup(
    long_description=with_absolute_links(Path("README.md").read_text(encoding="utf-8"), PROJECT.get("urls", {})),
    long_description_content_type="text/markdown",
    # Without package_dir an editable install would hide twisted/plugins from Twisted. The plugin directory is
    # listed explicitly, since neither it nor twisted/ may have an __init__.py.
    package_dir={"": "."},
    # pushd/client is a link to clients/python/pushd_client: see docs/dependencies.md.
    packages=[*find_packages(include=["pushd", "pushd.*"]), "twisted.plugins"],
    package_data={
        "pushd.client": ["py.typed"],
        "pushd.backends.redis": ["lua/*.lua"],
        "pushd.api.pages": ["*.html", "*.ico", "client/*", "console/*", "demo/*", "parts/*"],
        "pushd.transports": ["*.html"],
    },
    data_files=[("share/pushd", ETC), ("share/man/man1", ["docs/pushctl.1"])],
    ext_modules=[] if IS_PURE else [FAN_OUT],
    # One wheel for all versions of Python from 3.11: the extension uses only the stable ABI.
    options={} if IS_PURE else {"bdist_wheel": {"py_limited_api": "cp311"}},
    zip_safe=False,
)

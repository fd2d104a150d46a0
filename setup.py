"""The build and installation of pushd."""

import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "pushd/__init__.py").read_text(encoding="utf-8"))[1]

setup(
    name="pushd",
    version=VERSION,
    description="Server push over HTTP, WebSocket and TCP lines",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="pushd contributors",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Topic :: System :: Networking",
    ],
    keywords=["server push", "server-sent events", "websocket", "long polling", "publish-subscribe"],
    python_requires=">=3.11",
    # Without package_dir an editable install would hide twisted/plugins from Twisted. The plugin directory is
    # listed explicitly, since neither it nor twisted/ may have an __init__.py.
    package_dir={"": "."},
    packages=[*find_packages(include=["pushd", "pushd.*"]), "twisted.plugins"],
    package_data={
        "pushd.backends.redis": ["lua/*.lua"],
        "pushd.api.pages": ["*.html", "*.ico", "demo/*"],
        "pushd.transports": ["*.html"],
    },
    entry_points={"console_scripts": ["pushctl=pushd.ctl.main:main"]},
    install_requires=[
        "Twisted[tls]>=26.10",
        "autobahn[twisted]>=26.7.1",
        "cryptography>=45.0.1",
        "hiredis>=3",
        "httptools>=0.6.4",
        "joserfc>=1.8",
        "msgspec>=0.20",
        "prometheus_client",
        "psutil>=7",
        "treq>=25.5",
        "txredisapi>=1.6",
        "websockets>=15",
    ],
    extras_require={
        "test": [
            "pytest>=9",
            "pytest-cov>=7",
            "pytest-twisted",
            "pytest-xdist",
            "hypothesis",
            "httpx",
            "fastapi>=0.115",
            "python-multipart",
            "uvicorn",
            "requests",
            "requests-cache",
            "playwright",
            "pillow",
            "setuptools>=77",
            "standardwebhooks",
        ],
        "fuzz": ["atheris>=3"],
        "check": ["ruff", "mypy", "mypy-zope", "types-psutil", "types-requests", "import-linter"],
    },
    # Optional: without a compiler, pushd uses the Python code in pushd/net/fan_out.py.
    ext_modules=[Extension("pushd.net._fan_out", ["pushd/net/_fan_out.c"], py_limited_api=True, optional=True)],
    # One wheel for all versions of Python from 3.11: the extension uses only the stable ABI.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    zip_safe=False,
)

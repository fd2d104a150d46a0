"""The commands that run the programs of this directory."""

from pathlib import Path
from typing import Final

import playwright

from tests.programs import find_program

_HERE: Final = Path(__file__).parent
_NODE: Final = Path(playwright.__file__).parent / "driver" / "node"
"""The Node.js that Playwright contains: a recent version, whose readline splits at U+2028 and U+2029."""
_JAVA_OPTIONS: Final = ("-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")
"""The compiler that starts fast, and UTF-8 in every locale (the second is for versions from 19)."""


def node_command(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a JavaScript file."""
    return [str(_NODE), str(_HERE / name), *arguments]


def java_command(*arguments: str) -> list[str]:
    """Return the command that compiles and runs `Client.java`. Without a JDK, skip or fail the test."""
    find_program("javac", "default-jdk-headless")
    java = find_program("java", "default-jdk-headless")
    return [java, *_JAVA_OPTIONS, str(_HERE / "Client.java"), *arguments]

"""The code in the pages is valid: Python, JavaScript, TOML and JSON."""

import ast
import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.pages.blocks import Block, blocks, pages
from tests.programs import find_program

_VALID: Final[dict[str, Callable[[str], object]]] = {
    # A page may show what goes into a coroutine.
    "python": lambda text: compile(text, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT),
    "toml": tomllib.loads,
    "json": lambda text: [json.loads(value) for value in _values(text)],
}


def _values(text: str) -> list[str]:
    """Return the JSON values of a block: one, or one in each line."""
    try:
        json.loads(text)
    except ValueError:
        return text.splitlines()
    return [text]


def of(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in pages() for block in blocks(page, *languages)]


@pytest.mark.parametrize(("language", "least"), [("python", 20), ("toml", 15), ("json", 10)])
def test_code_is_valid(language: str, least: int) -> None:
    found = of(language)
    assert len(found) >= least
    for block in found:
        try:
            _VALID[language](block.text)
        except (SyntaxError, ValueError) as error:
            pytest.fail(f"{block.page}:{block.line}: {error}")


def test_scripts_are_valid(tmp_path: Path) -> None:
    node = find_program("node", "nodejs")
    found = of("js", "javascript")
    assert len(found) >= 5
    for number, block in enumerate(found):
        file = tmp_path / f"{number}.mjs"
        file.write_text(block.text, encoding="utf-8")
        done = subprocess.run([node, "--check", file], capture_output=True, text=True)
        assert done.returncode == 0, f"{block.page}:{block.line}: {done.stderr}"

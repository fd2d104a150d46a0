"""The code blocks of the pages, and the commands in those for a shell."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
SHELLS: Final = ("sh", "console")
_BLOCK: Final = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CONTINUED: Final = re.compile(r"(?:.*\\\n)*.*\n?")


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    heading: str
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """A command, and what the page prints below it. Without a command, the output is a dialog that continues."""

    block: Block
    text: str
    output: str

    @property
    def place(self) -> str:
        """Where the block begins, for messages."""
        return f"{self.block.page}:{self.block.line}: {self.text}"


def pages() -> list[str]:
    """Return the paths of all pages, relative to the project."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    found += [ROOT / "clients/python/README.md", ROOT / "clients/js/README.md"]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.exists())


def blocks(page: str, *languages: str) -> Iterator[Block]:
    """Yield the blocks of a page in these languages, or in all."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        if not languages or found[1] in languages:
            # Comments of other blocks look like headings: only the last one before the block matters.
            before = _BLOCK.sub("", text[: found.start()])
            heading = (_HEADING.findall(before) or [""])[-1]
            yield Block(page, heading, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of a page in their order."""
    for block in blocks(page, *SHELLS):
        if block.language == "sh":
            yield from (Command(block, line.strip(), "") for line in _CONTINUED.findall(block.text) if line.strip())
            continue
        first, *rest = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        if first:
            yield Command(block, "", first)
        for part in rest:
            text, _, output = part.partition("\n")
            yield Command(block, text, output)

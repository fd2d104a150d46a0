"""docs/authentication.md documents every check that a refusal can name; tests/pages runs its commands."""

import re

from pushd.auth.token_checks import Check
from tests.pages.blocks import ROOT

PAGE = (ROOT / "docs/authentication.md").read_text(encoding="utf-8")


def test_every_check_is_documented() -> None:
    section = PAGE.partition("## Explain a refusal")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", section, re.M)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert {*Check, "deny", "allow", "operate", "off"} <= named

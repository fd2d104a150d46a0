"""The configuration and the code that docs/authentication.md shows; tests/pages runs its commands."""

import re
import time
from pathlib import Path
from typing import Any

from pushd.auth.jwt import FixedKeys, JwtVerifier
from pushd.config.issuers import build_issuers
from pushd.config.loader import load
from tests.pages.blocks import ROOT

PAGE = (ROOT / "docs" / "authentication.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


CONFIGURATIONS = [block for block in blocks(PAGE, "toml") if block.startswith("[auth")]


def test_configurations_are_accepted(tmp_path: Path) -> None:
    assert len(CONFIGURATIONS) > 2
    for block in CONFIGURATIONS:
        file = tmp_path / "pushd.toml"
        file.write_text(block, encoding="utf-8")
        assert load(file, {}, {}).auth.is_enabled


async def test_token_of_an_application_is_accepted(tmp_path: Path) -> None:
    secret = tmp_path / "2026-11.secret"
    secret.write_text("0" * 64 + "\n", encoding="utf-8")
    issuer = next(block for block in CONFIGURATIONS if "[auth.issuer" in block and "secret_files" in block)
    code = next(block for block in blocks(PAGE, "python") if "def pushd_token" in block)
    assert "/etc/pushd/2026-11.secret" in issuer and "/etc/pushd/2026-11.secret" in code
    names: dict[str, Any] = {}
    exec(code.replace("/etc/pushd/2026-11.secret", str(secret)), names)
    (tmp_path / "pushd.toml").write_text(issuer.replace("/etc/pushd/2026-11.secret", str(secret)), encoding="utf-8")
    settings = load(tmp_path / "pushd.toml", {}, {}).auth
    verifier = JwtVerifier(build_issuers(settings.issuers, _no_jwks), time.time)
    identity = await verifier.verify(names["pushd_token"](42))
    assert identity is not None and identity.subject == "42"
    assert identity.grant.may("subscribe", "users/42/**") and not identity.grant.may("subscribe", "users/43/x")


def _no_jwks(name: str, url: str) -> FixedKeys:
    raise AssertionError(f"{name} fetches {url}")

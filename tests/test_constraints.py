"""constraints.txt pins all that pushd needs, with hashes; it can be installed, and has no known vulnerability."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FILE = ROOT / "constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.*?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
PINS = {name: version for name, version, _, _ in ENTRY.findall(FILE.read_text(encoding="utf-8"))}


def required(requirement: Requirement, seen: set[str]) -> Iterator[Requirement]:
    """Yield a requirement, and those of the installed package, recursively."""
    yield requirement
    key = str(requirement)
    if key in seen:
        return
    seen.add(key)
    try:
        lines = requires(requirement.name) or []
    except PackageNotFoundError:
        return
    for line in lines:
        further = Requirement(line)
        extras = requirement.extras or {""}
        if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
            yield from required(further, seen)


def test_every_line_is_a_pin_with_hashes() -> None:
    assert ENTRY.sub("", FILE.read_text(encoding="utf-8")).count("\n") == 1


def test_every_dependency_is_pinned_to_a_version_that_is_accepted() -> None:
    seen: set[str] = set()
    found = [each for line in PROJECT["dependencies"] for each in required(Requirement(line), seen)]
    assert len(found) > len(PROJECT["dependencies"]) > 10
    for requirement in found:
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), requirement


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pinned_packages_can_be_installed(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "-q", "install", "--require-hashes", "--only-binary", ":all:", "-r", FILE)
    run(python, "-m", "pip", "check")
    run(python, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]; import pushd.tap, pushd.ctl.main")


@pytest.mark.slow
def test_pinned_packages_have_no_known_vulnerability() -> None:
    problems = []
    for service in ("pypi", "osv"):
        command = [sys.executable, "-m", "pip_audit", "-s", service, "-f", "json", "--require-hashes", "--disable-pip"]
        done = subprocess.run([*command, "-r", FILE], capture_output=True, text=True, timeout=120)
        if not done.stdout.startswith("{"):
            problems.append(f"{service}: {done.stderr.strip().splitlines()[-1][:100]}")
            continue
        packages = json.loads(done.stdout)["dependencies"]
        assert packages
        assert [each for each in packages if each.get("vulns")] == []
        unknown = [each["name"] for each in packages if "skip_reason" in each]
        if not unknown:
            return
        problems.append(f"{service}: knows nothing of {len(unknown)} of {len(packages)} packages")
    pytest.skip(f"the databases of vulnerabilities cannot be reached: {'; '.join(problems)}")

"""The receivers of docs/hooks.md: they are valid Python, and that of FastAPI verifies and ignores duplicates."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pushd.wire.webhook_signature import parse_secret, signature_headers
from tests.hooks.receiver import SECRET

EXAMPLES = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/hooks.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("framework", ["flask", "fastapi", "django"])
def test_there_is_a_receiver_of_each_framework(framework: str) -> None:
    (example,) = [each for each in EXAMPLES if f"from {framework}" in each]
    compile(example, framework, "exec")
    assert "WebhookVerificationError" in example


def test_fastapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hook.secret").write_text(SECRET + "\n")
    (example,) = [each for each in EXAMPLES if "from fastapi" in each]
    scope: dict[str, Any] = {}
    exec(example.replace("/etc/pushd/hook.secret", str(tmp_path / "hook.secret")), scope)
    client = TestClient(scope["app"])
    events = [{"id": f"evt_{number}", "type": "subscribe", "channel": f"c/{number}"} for number in range(2)]
    body = json.dumps({"hook": "app", "events": events}).encode()
    headers = dict(signature_headers([parse_secret(SECRET.encode())], "msg_1", int(time.time()), body))
    for _ in range(2):
        assert client.post("/pushd/hooks", content=body, headers=headers).status_code == 204
    assert capsys.readouterr().out == "subscribe c/0\nsubscribe c/1\n"
    assert client.post("/pushd/hooks", content=body + b" ", headers=headers).status_code == 400

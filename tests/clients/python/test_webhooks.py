"""Webhooks that the client verifies: signed by the daemon and by the reference implementation."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pushd_client import InvalidWebhook, verify_webhook
from standardwebhooks.webhooks import Webhook
from starlette.datastructures import Headers
from werkzeug.datastructures import Headers as WerkzeugHeaders

from pushd.wire.webhook_signature import parse_secret, signature_headers

SECRETS = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2, 3)]
BODY = json.dumps({"hook": "app", "events": [{"id": "evt_1", "type": "publish", "channel": "ü"}]}).encode()
VALUE = json.loads(BODY)
EARLIER = "earlier"


def signed(*secrets: str, age: float = 0, body: bytes = BODY) -> dict[str, str]:
    """Return headers of the daemon that sign a body."""
    keys = [parse_secret(secret.encode()) for secret in secrets or SECRETS[:1]]
    return dict(signature_headers(keys, "msg_1", int(time.time() - age), body))


def test_request_of_the_daemon():
    assert verify_webhook(signed(), BODY, SECRETS[0]) == VALUE
    assert verify_webhook(signed(), BODY.decode(), SECRETS[0].encode()) == VALUE


def test_reference_implementation_agrees():
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRETS[0]).sign("msg_1", now, BODY.decode()),
    }
    assert verify_webhook(headers, BODY, SECRETS[0]) == VALUE
    assert Webhook(SECRETS[0]).verify(BODY, signed()) == VALUE


@pytest.mark.parametrize("kind", [Headers, WerkzeugHeaders, lambda headers: list(headers.items())])
def test_headers_of_frameworks(kind):
    headers = {name.title(): value for name, value in signed().items()} | {"Host": "example.org"}
    assert verify_webhook(kind(headers), BODY, SECRETS[0]) == VALUE


def test_any_of_several_secrets_and_signatures_counts(tmp_path):
    file = tmp_path / "hook.secret"
    file.write_text(SECRETS[1] + "\n")
    assert verify_webhook(signed(SECRETS[1]), BODY, [SECRETS[0], file]) == VALUE
    assert verify_webhook(signed(*SECRETS[:2]), BODY, SECRETS[1]) == VALUE
    assert verify_webhook(signed(*SECRETS[:2]), BODY, (SECRETS[2], SECRETS[0])) == VALUE
    with pytest.raises(InvalidWebhook):
        verify_webhook(signed(*SECRETS[:2]), BODY, SECRETS[2])
    with pytest.raises(InvalidWebhook):
        verify_webhook(signed(), BODY, [])


def test_time_must_be_within_the_tolerance():
    for age in (-290, 290):
        assert verify_webhook(signed(age=age), BODY, SECRETS[0]) == VALUE
    for age in (-310, 310):
        with pytest.raises(InvalidWebhook, match="within 300 seconds"):
            verify_webhook(signed(age=age), BODY, SECRETS[0])
    assert verify_webhook(signed(age=1000), BODY, SECRETS[0], tolerance=2000) == VALUE


@pytest.mark.parametrize(
    ("changes", "body", "message"),
    [
        ({"webhook-id": "msg_2"}, BODY, "no signature with the secret"),
        ({"webhook-timestamp": EARLIER}, BODY, "no signature with the secret"),
        ({}, BODY + b" ", "no signature with the secret"),
        ({"webhook-signature": "v1,"}, BODY, "no signature with the secret"),
        ({"webhook-signature": "v2,ü v1"}, BODY, "no signature with the secret"),
        ({"webhook-timestamp": "soon"}, BODY, "must be unix seconds"),
        ({"webhook-timestamp": "1e9"}, BODY, "must be unix seconds"),
        ({"webhook-id": ""}, BODY, "webhook-id is missing"),
        ({"webhook-signature": ""}, BODY, "webhook-signature is missing"),
    ],
)
def test_what_was_not_signed_is_refused(changes: dict[str, str], body: bytes, message: str):
    headers = signed()
    if changes.get("webhook-timestamp") == EARLIER:  # than the one that was signed, and not much
        changes = {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}
    with pytest.raises(InvalidWebhook, match=message):
        verify_webhook(headers | changes, body, SECRETS[0])


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"[" * 100_000])
def test_signed_body_must_be_an_object(body: bytes):
    with pytest.raises(InvalidWebhook, match="body must be a JSON object"):
        verify_webhook(signed(body=body), body, SECRETS[0])


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("0123", "must begin with whsec_"),
        ("whsec_!", "must be base64"),
        ("whsec_c2hvcnQ=", r"at least 24 bytes before base64 \(has 5\)"),
    ],
)
def test_malformed_secret_is_an_error_of_the_application(secret: Any, message: str):
    with pytest.raises(ValueError, match=message) as raised:
        verify_webhook(signed(), BODY, secret)
    assert "c2hvcnQ" not in str(raised.value)

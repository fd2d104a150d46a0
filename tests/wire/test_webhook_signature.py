"""Signatures of outgoing requests, verified by the reference implementation of Standard Webhooks."""

import base64
import os
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pushd.wire.webhook_signature import new_message_id, parse_secret, signature_headers

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(os.urandom(size)).decode()}" for size in (24, 32, 64))
BODY = '{"name":"caf\u00e9"}'.encode()


def signed(*secrets: str, at: float | None = None) -> dict[str, str]:
    keys = [parse_secret(secret.encode()) for secret in secrets]
    return dict(signature_headers(keys, new_message_id(), int(time.time() if at is None else at), BODY))


@pytest.mark.parametrize("secret", [OLD, NEW, OTHER], ids=["24", "32", "64"])
def test_the_reference_implementation_verifies_a_signature(secret: str) -> None:
    assert Webhook(secret).verify(BODY, signed(secret)) == {"name": "caf\u00e9"}


def test_a_receiver_with_either_secret_verifies_a_request_signed_with_two() -> None:
    headers = signed(NEW, OLD)
    for secret in (NEW, OLD):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, headers)


def test_another_body_id_or_time_is_not_verified() -> None:
    headers = signed(NEW)
    changed = [(BODY + b" ", headers)]
    changed += [
        (BODY, headers | {"webhook-id": "msg_x"}),
        (BODY, headers | {"webhook-timestamp": f"{time.time() + 1:.0f}"}),
    ]
    changed += [(BODY, signed(NEW, at=time.time() - 3600))]
    for body, each in changed:
        with pytest.raises(WebhookVerificationError):
            Webhook(NEW).verify(body, each)


def test_ids_differ() -> None:
    assert len({new_message_id() for _ in range(100)}) == 100


def test_white_space_around_a_secret_is_ignored() -> None:
    assert parse_secret(f"  {NEW}\r\n".encode()) == parse_secret(NEW.encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "must begin with whsec_"),
        (base64.b64encode(b"x" * 32), "must begin with whsec_"),
        (b"whsec_", r"must have 24 to 64 bytes before base64 \(got 0\)"),
        (b"whsec_" + base64.b64encode(b"x" * 23), r"\(got 23\)"),
        (b"whsec_" + base64.b64encode(b"x" * 65), r"\(got 65\)"),
        (b"whsec_S3cr\xe9t!", "must be base64"),
        (b"whsec_" + base64.b64encode(b"x" * 32)[:-1], "must be base64"),
    ],
)
def test_unusable_secrets(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        parse_secret(content)
    assert "S3cr" not in str(raised.value)

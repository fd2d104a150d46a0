"""Static tokens: the file, its errors, and the lookup."""

from hashlib import sha256
from pathlib import Path

import pytest
from twisted.logger import LogLevel, capturedLogs

from pushd.auth.static_tokens import StaticTokens
from pushd.core.grant import Quota
from tests.auth.test_authenticator import now

TOKEN = "pushd_example"
DIGEST = sha256(TOKEN.encode()).hexdigest()
PHONE = f'[phone]\nsha256 = "{DIGEST}"\nsub = "alice"\n'


def file_of(tmp_path: Path, text: str | bytes) -> Path:
    """Write a file of tokens that only its owner can read."""
    file = tmp_path / "tokens.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(0o600)
    return file


def test_token_is_verified_by_its_hash(tmp_path: Path) -> None:
    other = sha256(b"other").hexdigest().upper()
    text = (
        f'# Tokens\n{PHONE}subscribe = ["users/{{sub}}/**"]\ndeny = ["users/{{sub}}/secret"]\ntags = ["mobile"]\n'
        f'quota = {{ connections = 5 }}\n\n[server-1]\nsha256 = "{other}"\nsub = "server"\npublish = ["**"]\n'
    )
    tokens = StaticTokens.from_file(file_of(tmp_path, text))
    assert len(tokens) == 2
    phone, server = now(tokens.verify(TOKEN)), now(tokens.verify("other"))
    assert phone is not None
    assert server is not None
    assert (phone.subject, phone.issuer, phone.expires) == ("alice", "token:phone", None)
    assert phone.token_id == sha256(TOKEN.encode()).hexdigest()
    assert phone.tags == ("mobile",)
    assert phone.grant.subject == "alice"
    assert phone.grant.quota == Quota(connections=5)
    assert phone.grant.may("subscribe", "users/alice/x")
    assert not phone.grant.may("subscribe", "users/alice/secret")
    assert server.subject == "server"


@pytest.mark.parametrize("token", ["", DIGEST, TOKEN + " ", TOKEN[:-1], TOKEN.upper(), "\ud800"])
def test_other_tokens_are_not_recognized(tmp_path: Path, token: str) -> None:
    assert now(StaticTokens.from_file(file_of(tmp_path, PHONE)).verify(token)) is None


def test_file_may_have_no_tokens(tmp_path: Path) -> None:
    assert len(StaticTokens.from_file(file_of(tmp_path, "# none yet\n"))) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "not TOML: "),
        (b"\xff", "not UTF-8 at byte 0"),
        ("phone = 1\n", "phone must be the table of a token, written [phone]"),
        (
            PHONE.replace("phone", '"my phone"'),
            "name of a token must have 1 to 64 letters, digits, - and _ (got 'my ph",
        ),
        (PHONE.replace("phone", "x" * 65), "name of a token must have 1 to 64 letters"),
        ('[a]\nsub = "x"\n', "token a: sha256 must be the SHA-256 of the token, 64 hexadecimal digits"),
        ('[a]\nsha256 = 1\nsub = "x"\n', "token a: sha256 must be"),
        (PHONE.replace(DIGEST, DIGEST[:-1]), "token phone: sha256 must be"),
        (PHONE.replace(DIGEST, TOKEN), "token phone: sha256 must be"),
        (f'[a]\nsha256 = "{DIGEST}"\n', "token a: sub must be the subject, a string of 1 to 255 bytes"),
        (PHONE.replace("alice", ""), "token phone: sub must be"),
        (PHONE.replace("alice", "ü" * 128), "token phone: sub must be"),
        (PHONE + 'subscribes = ["a"]\n', "token phone: unknown key 'subscribes' (accepted: "),
        (PHONE + 'subscribe = ["a//b"]\n', "token phone: subscribe: 'a//b' is not accepted: "),
        (PHONE.replace("alice", "a/b") + 'deny = ["{sub}"]\n', "token phone: deny: {sub} is used, and the subject"),
        (PHONE + PHONE.replace("phone", "tablet"), "tokens phone and tablet have the same sha256"),
    ],
)
def test_invalid_file_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    file = file_of(tmp_path, text)
    with pytest.raises(ValueError) as error:
        StaticTokens.from_file(file)
    assert str(error.value).startswith(f"{file}: {message}")
    assert len(str(error.value).splitlines()) == 1
    assert TOKEN not in str(error.value)


def test_all_mistakes_of_a_file_are_reported(tmp_path: Path) -> None:
    text = '[a]\nsub = "x"\n' + PHONE + PHONE.replace("phone", "tablet") + f'[c]\nsha256 = "{DIGEST[::-1]}"\n'
    with pytest.raises(ValueError) as error:
        StaticTokens.from_file(file_of(tmp_path, text))
    found = [line.partition(": ")[2] for line in str(error.value).splitlines()]
    assert found == [
        "token a: sha256 must be the SHA-256 of the token, 64 hexadecimal digits",
        "tokens phone and tablet have the same sha256",
        "token c: sub must be the subject, a string of 1 to 255 bytes",
    ]


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokens\.toml: No such file or directory$"):
        StaticTokens.from_file(tmp_path / "tokens.toml")
    with pytest.raises(ValueError, match="Is a directory"):
        StaticTokens.from_file(tmp_path)


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o400, 0), (0o644, 1), (0o660, 1), (0o602, 1)])
def test_file_that_others_can_read_or_change_is_logged(tmp_path: Path, mode: int, warnings: int) -> None:
    file = file_of(tmp_path, PHONE)
    file.chmod(mode)
    with capturedLogs() as events:
        assert len(StaticTokens.from_file(file)) == 1
    logged = [event for event in events if event["log_level"] is LogLevel.warn]
    assert [(event["path"], event["mode"]) for event in logged] == [(str(file), f"{mode:o}")] * warnings

"""A daemon with authentication, and files for its tokens."""

import os
import signal
from hashlib import sha256
from pathlib import Path

from tests.ctl.pushctl_process import SECONDS, Pushctl
from tests.daemon.real import Daemon, eventually

OPERATOR, USER, STRANGE = "pushd_operator", "pushd_user", "pushd_unknown"
"""Tokens: with all rights, with few, and one that the daemon does not know."""
ISSUER, SECRET = "https://shop.example.org", "a secret of a test, 32 bytes or more"
_EVERYTHING = "subscribe = ['**']\npublish = ['**']\nmanage = ['**']\noperate = ['*']"
_LITTLE = "subscribe = ['news/**', 'own/{sub}/**']\npublish = ['news/*']\ndeny = ['news/secret']"


def table(name: str, token: str, grant: str) -> str:
    """Return the table of a token."""
    return f'[{name}]\nsha256 = "{sha256(token.encode()).hexdigest()}"\nsub = "{name}"\n{grant}\n'


class GuardedDaemon:
    """A daemon with a tokens file and an issuer of JSON Web Tokens, whose secret is in `secret`.

    :param options: those of pushd.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.tokens, self.secret = folder / "tokens.toml", folder / "shop.secret"
        self.secret.write_text(SECRET)
        self.write_tokens()
        self.url_key = folder / "web.key"
        self.url_key.write_text(SECRET)
        config = folder / "pushd.toml"
        config.write_text(
            f'[auth]\ntokens_file = "{self.tokens}"\n[auth.anonymous]\nsubscribe = ["public/**"]\n'
            f'[auth.issuer.shop]\nissuer = "{ISSUER}"\naudience = "pushd"\nalgorithms = ["HS256"]\n'
            f'secret_files = ["{self.secret}"]\n[auth.url_keys]\nweb = "{self.url_key}"\n'
        )
        self.process = Daemon(folder, "--config", str(config), *options)

    def write_tokens(self, *tables: str) -> None:
        """Write the tokens file, with the operator and further tables, or else the user."""
        self.tokens.write_text("\n".join([table("ops", OPERATOR, _EVERYTHING), *(tables or [self.user(USER)])]))
        self.tokens.chmod(0o600)

    @staticmethod
    def user(token: str) -> str:
        """Return the table of the user with a token."""
        return table("alice", token, _LITTLE)

    def reload(self) -> None:
        """Reload, and wait until that is done."""
        start = len(self.process.log)
        os.kill(self.process.pid, signal.SIGHUP)
        assert eventually(lambda: "eload" in self.process.log[start:], SECONDS), self.process.log

    def pushctl(self, token: str | None = OPERATOR, **environ: str) -> Pushctl:
        """Return a runner of `pushctl` with a token in the environment, and further variables."""
        return Pushctl(self.process, **({} if token is None else {"PUSHD_TOKEN": token}), **environ)

    def token_file(self, token: str, name: str = "token") -> Path:
        """Return a file that contains a token."""
        file = self.folder / name
        file.write_text(f"{token}\n")
        return file

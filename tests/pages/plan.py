"""What pages take for granted, and the commands in them that do not run here, each with its reason."""

from typing import Final, NamedTuple

MAKE: Final = "takes minutes, or runs this test: only the existence of the target is checked"
SYSTEMD: Final = "needs systemd as process 1; tests/system/test_systemd.py checks the units"
ENGINE: Final = "needs a container engine; tests/system/test_dockerfile.py runs the Dockerfile"
INSTALL: Final = "installs from a package registry; tests/test_packaging.py installs the wheels"
FRAMEWORK: Final = "tests/browser/test_python_examples.py runs the example, which has the files that the page creates"
BROWSER: Final = "tests/browser/test_notifications.py runs the example behind nginx"
BENCH: Final = "takes seconds of CPU time: test_bench_has_the_documented_output runs it"

NOT_RUN: Final = {
    ("README.md", "make test"): MAKE,
    ("README.md", ".venv/bin/pushctl bench"): BENCH,
    ("README.md", ".venv/bin/pushctl doctor"): "waits 70 seconds; tests/ctl/test_doctor.py runs it",
    ("CONTRIBUTING.md", "make quick"): MAKE,
    ("CONTRIBUTING.md", "make model"): MAKE,
    ("docs/adding-a-transport.md", "nc 127.0.0.1 9002"): "tests/transports/test_adding_a_transport.py runs the example",
    ("docs/django.md", "python3 -m venv"): INSTALL,
    ("docs/django.md", "pip install"): INSTALL,
    ("docs/django.md", "python manage.py"): FRAMEWORK,
    ("docs/django.md", "twistd"): FRAMEWORK,
    ("docs/fastapi.md", "python3 -m venv"): INSTALL,
    ("docs/fastapi.md", "pip install"): INSTALL,
    ("docs/fastapi.md", "twistd"): FRAMEWORK,
    ("docs/fastapi.md", "uvicorn"): FRAMEWORK,
    ("docs/flask.md", "python3 -m venv"): INSTALL,
    ("docs/flask.md", "pip install"): INSTALL,
    ("docs/flask.md", "twistd"): FRAMEWORK,
    ("docs/flask.md", "flask run"): FRAMEWORK,
    ("docs/operations.md", "python3 -m venv"): INSTALL,
    ("docs/operations.md", "cp etc/pushd.service"): SYSTEMD,
    ("docs/operations.md", "systemctl"): SYSTEMD,
    ("docs/operations.md", "for number in"): SYSTEMD,
    ("docs/operations.md", "docker"): ENGINE,
    ("docs/operations.md", "/opt/pushd/bin/pip"): INSTALL,
    ("docs/pushctl.md", "pushctl bench"): BENCH,
    ("docs/pushctl.md", "pushctl doctor"): "waits 70 seconds behind nginx: tests/ctl/test_doctor_behind_nginx.py",
    ("examples/fastapi-notifications/README.md", "pip install"): INSTALL,
    ("examples/fastapi-notifications/README.md", "twistd"): BROWSER,
    ("examples/fastapi-notifications/README.md", "uvicorn"): BROWSER,
    ("examples/fastapi-notifications/README.md", "nginx"): BROWSER,
}
"""Commands, by page and beginning, and why they are not run here."""


class Plan(NamedTuple):
    """What a page takes for granted."""

    daemon: bool = False
    """Whether a daemon runs already."""
    redis: bool = False
    """Whether a Redis runs already."""
    before: tuple[tuple[str, str], ...] = ()
    """Commands to run before the first one under a heading, in its order; `""` is the beginning of the page."""
    fresh: tuple[str, ...] = ()
    """Headings under which the page begins with an empty directory."""
    stopped: tuple[str, ...] = ()
    """Headings under which the daemon is stopped."""


_MISTAKES: Final = """printf '%s\\n' '[limits]' '' 'message = "lots"' '' \
'[auth.callback]' 'url = "https://app.example.org/pushd"' 'secret_file = "callback.secret"' \
'secret_files = ["callback.secret"]' > pushd.toml; head -c 48 /dev/zero | tr '\\0' x > callback.secret"""
_FLASH_POLICY: Final = (
    """printf '[dialects]\\nenable = ["flash-policy"]\\n[dialects.flash-policy]\\n"""
    """domains = ["*.games.example"]\\nports = ["8081"]\\n' > pushd.toml"""
)
_MANY: Final = "for path in sse/a sse/a,b 'stream/**'; do (curl -N localhost:8080/$path >/dev/null &); done"

PLANS: Final = {
    "CONTRIBUTING.md": Plan(before=(("", "git init -q ."),)),
    "README.md": Plan(redis=True),
    "docs/authentication.md": Plan(fresh=("Static tokens", "From the command line")),
    "docs/configuration.md": Plan(before=(("Mistakes", _MISTAKES),)),
    "docs/dialects/flash-policy.md": Plan(before=(("", _FLASH_POLICY),)),
    "docs/durable.md": Plan(stopped=("When the file is damaged",)),
    "docs/nodes.md": Plan(redis=True),
    "docs/operations.md": Plan(daemon=True),
    "docs/presence.md": Plan(daemon=True),
    "docs/pushctl.md": Plan(
        daemon=True,
        before=(
            ("", "mkdir -p ~/.config ~/.local/share/bash-completion/completions ~/.zfunc; touch access.log"),
            ("", "umask 077; echo pushd_token > ~/.config/pushd.token"),
            ("top", _MANY),
        ),
    ),
    "docs/rpc.md": Plan(
        daemon=True,
        before=(
            ("A server calls a function of a page", 'pushctl respond pages/alice -- echo \'{"result":"My page"}\' &'),
        ),
    ),
}

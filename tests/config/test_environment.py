"""Variables of the environment: settings, typing errors, and those that Kubernetes sets."""

import pytest

from pushd.config.environment import service_links
from pushd.config.loader import load
from pushd.config.mistakes import ConfigError
from pushd.config.table import SETTINGS, Config

LINKS = {
    "PUSHD_SERVICE_HOST": "10.96.12.3",
    "PUSHD_SERVICE_PORT": "8080",
    "PUSHD_SERVICE_PORT_HTTP": "8080",
    "PUSHD_PORT": "tcp://10.96.12.3:8080",
    "PUSHD_PORT_8080_TCP": "tcp://10.96.12.3:8080",
    "PUSHD_PORT_8080_TCP_PROTO": "tcp",
    "PUSHD_PORT_8080_TCP_PORT": "8080",
    "PUSHD_PORT_8080_TCP_ADDR": "10.96.12.3",
    "PUSHD_PORT_53_UDP": "udp://[fd00::1]:53",
}


@pytest.mark.parametrize("service", ["PUSHD", "PUSHD_LINES", "PUSHD_HTTP_REUSE", "PUSHD_LIMITS"])
def test_links_of_kubernetes_are_ignored(service: str) -> None:
    links = {name.replace("PUSHD", service): value for name, value in LINKS.items()}
    assert load(None, links, {}) == Config()
    assert service_links(links | {"PATH": "/bin", "PUSHD_LOG_LEVEL": "info"}) == sorted(links)


def test_variable_with_the_name_of_a_link_can_be_a_setting() -> None:
    """A Service called `pushd-http-reuse` sets PUSHD_HTTP_REUSE_PORT; the setting accepts no such value."""
    alike = [row for row in SETTINGS if row.variable.endswith("_PORT")]
    assert [row.key for row in alike] == ["http.reuse_port", "tcp.reuse_port"]
    for row in alike:
        with pytest.raises(ValueError, match="is neither true nor false"):
            row.parse(LINKS["PUSHD_PORT"])
        assert service_links({row.variable: "true"}) == []
    assert load(None, {"PUSHD_HTTP_REUSE_PORT": "true"}, {}).http.reuse_port


def test_no_setting_has_the_name_of_another_link() -> None:
    assert service_links({row.variable: "8080" for row in SETTINGS}) == []


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PUSHD_HTPP", ":8080", ", did you mean PUSHD_HTTP_LISTEN?"),
        ("PUSHD_REDIS", "redis://x", ", did you mean PUSHD_BACKEND_URL?"),
        ("PUSHD_LOG_LEVLE", "info", ", did you mean PUSHD_LOG_LEVEL?"),
        ("PUSHD_PORT", "8080", ""),
    ],
)
def test_typing_error_is_reported(name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {name: value} | LINKS | {name: value}, {})
    assert str(caught.value).startswith(f"environment: unknown variable {name}{hint}")

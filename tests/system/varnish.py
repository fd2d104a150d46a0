"""A Varnish process."""

from pathlib import Path

from tests.system.proxies import Proxy


class Varnish(Proxy):
    """Varnish on one port.

    :param vcl: its configuration, with one backend.
    """

    program = "varnishd"
    package = "varnish"

    def __init__(self, directory: Path, vcl: str) -> None:
        super().__init__(directory, ["www"])
        path = directory / "pushd.vcl"
        path.write_text(vcl)
        listen = f"127.0.0.1:{self.ports['www']}"
        limits = ("-p", "thread_pools=1", "-p", "thread_pool_min=10", "-s", "malloc,16m")
        self.start("-F", "-j", "none", "-T", "none", "-n", str(directory), "-a", listen, "-f", str(path), *limits)

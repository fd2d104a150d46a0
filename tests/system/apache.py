"""An Apache httpd process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.system.proxies import Proxy

_MODULES: Final = next(
    (path for name in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if (path := Path(name)).is_dir()), None
)
_CONFIG: Final = """\
ServerRoot {directory}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {directory}/pid
ErrorLog /dev/stderr
LogLevel warn
DefaultRuntimeDir {directory}
Mutex posixsem
User #65534
Group #65534
ServerLimit 1
StartServers 1
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 64
{modules}
{config}
"""


class Apache(Proxy):
    """Apache with one virtual host. Its single child process shares one pool of connections to pushd.

    :param config: directives of the virtual host, as in docs/proxies.md.
    :param modules: what they need besides the modules of the proxy.
    """

    program = "apache2"

    def __init__(self, directory: Path, config: str, modules: Sequence[str] = ()) -> None:
        super().__init__(directory, ["www"])
        if _MODULES is None:
            pytest.skip("the modules of Apache are not installed; see .ci/tools")
        names = ("mpm_event", "authz_core", "proxy", "proxy_http")
        lines = "\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in (*names, *modules))
        path = directory / "apache.conf"
        path.write_text(_CONFIG.format(directory=directory, port=self.ports["www"], modules=lines, config=config))
        self.start("-D", "FOREGROUND", "-f", str(path))

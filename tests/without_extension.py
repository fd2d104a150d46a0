"""`pytest -p tests.without_extension` runs tests as on a machine that had no C compiler when pushd was installed."""

import sys
from types import ModuleType
from typing import cast

sys.modules["pushd.net._fan_out"] = cast(ModuleType, None)

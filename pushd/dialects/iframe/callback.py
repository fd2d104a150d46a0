"""The name of the function that receives the messages: text of the URL that becomes part of a script."""

import re
from typing import Final

from pushd.core.errors import BadParameter

_NAME: Final = re.compile(r"(?:parent|top)(?:\.[A-Za-z_$][A-Za-z0-9_$]{0,63}){1,4}", re.ASCII)
_UNSAFE: Final = frozenset(
    ("Function", "__proto__", "constructor", "document", "eval", "location", "opener", "prototype", "self", "window")
)
"""Properties through which a URL could make a page call more than the functions that it has defined itself."""


def check_callback(name: str | None) -> bytes:
    """Return a name as it is inserted into a script.

    :raises BadParameter: when it is missing or is not a property of ``parent`` or ``top``.
    """
    if name is None or not _NAME.fullmatch(name) or _UNSAFE.intersection(name.split(".")):
        raise BadParameter("callback must be the name of a function of the page, such as parent.f")
    return name.encode("ascii")

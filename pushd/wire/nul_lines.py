"""Lines that end with NUL, and the policy request of Flash.

The plug-in sends ``<policy-file-request/>`` and NUL as the first bytes of a connection, and expects the policy as the
first bytes of the answer.
"""

from typing import Final

NUL: Final = b"\0"
POLICY_REQUEST: Final = b"<policy-file-request/>"
"""The request, without its NUL."""


class NulLines:
    """What line connections accept besides lines that end with LF."""

    policy: bytes | None = None
    """The policy file, without NUL; None: policy requests are not answered, and NUL ends no line."""

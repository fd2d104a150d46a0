"""What ends a command, and the status with which it leaves."""

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3


class CtlError(Exception):
    """The command can not be done; the text is one sentence."""

    status = EXIT_FAILED
    """The exit status of the process."""


class RequestRefused(CtlError):
    """The daemon said no, or something that is no answer of pushd."""


class TemporarilyRefused(RequestRefused):
    """The daemon said: not now."""


class Unreachable(CtlError):
    """Nobody answers at the address."""

    status = EXIT_UNREACHABLE

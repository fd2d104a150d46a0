"""What ends a command, and the status with which it leaves."""

REFUSED, USAGE, NOT_REACHABLE = 1, 2, 3


class Failure(Exception):
    """The command can not be done; the text is one sentence."""

    status = REFUSED
    """The exit status of the process."""


class Refused(Failure):
    """The daemon said no, or something that is no answer of pushd."""


class Later(Refused):
    """The daemon said: not now."""


class NotReachable(Failure):
    """Nobody answers at the address."""

    status = NOT_REACHABLE

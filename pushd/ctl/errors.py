"""Errors that end a command, and the exit statuses of pushctl."""

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3


class CtlError(Exception):
    """The command failed; the text is one sentence for standard error."""

    status = EXIT_FAILED
    """Exit status of the process."""


class UsageError(CtlError):
    """The arguments do not fit together."""

    status = EXIT_USAGE


class RequestRefused(CtlError):
    """The daemon refused the request, or the response is not one of pushd."""


class CredentialRefused(RequestRefused):
    """The daemon refused the token, or requires one: to try again with the same token is pointless."""


class TemporarilyRefused(RequestRefused):
    """The daemon refused the request with a status that invites a retry."""


class Unreachable(CtlError):
    """The address cannot be connected to."""

    status = EXIT_UNREACHABLE

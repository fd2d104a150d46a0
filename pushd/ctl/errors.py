"""Errors that end a command, and the exit statuses of pushctl.

Refusals and failed connections are those of `pushd.client`.
"""

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3


class CtlError(Exception):
    """The command failed; the text is one sentence for standard error."""

    status = EXIT_FAILED
    """Exit status of the process."""


class UsageError(CtlError):
    """The arguments do not fit together."""

    status = EXIT_USAGE

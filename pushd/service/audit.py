"""The file of the audit log, as the settings name it."""

from twisted.logger import Logger

from pushd.audit.log import AuditLog
from pushd.config.mistakes import ConfigError
from pushd.config.table import Config

_log = Logger()


def open_audit(audit: AuditLog, config: Config) -> None:
    """Open the audit log at the start.

    :raises ConfigError: when it cannot be opened.
    """
    name = config.log.audit
    try:
        audit.open(name)
    except OSError as error:
        raise ConfigError(f"log.audit: {name}: {error.strerror}") from error


def reopen_audit(audit: AuditLog, config: Config) -> None:
    """Write to the file that a reload names from now on. If it cannot be opened, the previous one stays in use."""
    name = config.log.audit
    try:
        audit.open(name)
    except OSError as error:
        _log.error(
            "Audit log {name} cannot be opened, the previous one stays in use: {reason}",
            name=name,
            reason=error.strerror,
        )

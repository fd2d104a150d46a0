"""The names of the checks of `pushctl doctor`."""

STRANGER = "stranger"
TRANSPORTS = ("sse", "stream", "raw", "multipart", "mixed", "longpoll", "websocket")
CHECKS = ("publish", "body", "address", STRANGER, *TRANSPORTS)
"""The names of all checks, in the order of the report."""

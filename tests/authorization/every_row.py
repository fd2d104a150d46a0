"""The table of all requests and commands: what each needs, and how it is sent."""

from tests.authorization.command_rows import COMMAND_ROWS
from tests.authorization.dialect_rows import DIALECT_ROWS
from tests.authorization.http_rows import HTTP_ROWS, REPLY_ROWS

ROWS = (*HTTP_ROWS, *COMMAND_ROWS, *DIALECT_ROWS, *REPLY_ROWS)

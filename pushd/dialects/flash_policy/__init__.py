"""Policy files for Flash, and NUL as line end."""

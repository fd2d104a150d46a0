"""Dialects: protocols of other projects. Each is a package, independent of the others; docs/adding-a-dialect.md."""

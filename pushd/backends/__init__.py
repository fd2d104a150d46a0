"""Where messages are kept and how they cross between machines. The interface, and one file per store."""

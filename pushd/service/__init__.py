"""The daemon as a whole: what it consists of, and the order in which its parts start and stop."""

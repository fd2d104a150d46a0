"""The doors, on Twisted: one file per way of pushing. They do not know each other."""

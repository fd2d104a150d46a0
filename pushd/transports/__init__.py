"""The transports, on Twisted: one file for each. They are independent of each other."""

"""The version of this package: that of the daemon with which it is released."""

VERSION = "0.2.0"

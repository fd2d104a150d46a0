"""Examples of hypothesis have no deadline each: what is measured on a busy machine is the machine."""

from hypothesis import settings

settings.register_profile("pushd", deadline=None)
settings.load_profile("pushd")

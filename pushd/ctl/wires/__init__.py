"""The transports of `pushctl sub` that only pushctl needs.

Each is a network for a subscription of `pushd.client`, which resumes, reconnects and renews the token: it sends the
request of another transport, and returns what it receives as JSON objects.
"""

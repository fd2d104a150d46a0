"""The core of publish-subscribe: names, messages, history, cursors, fan-out and slow consumers.

Pure Python. Nothing here uses a socket, a clock or a logger; time is an argument.
"""

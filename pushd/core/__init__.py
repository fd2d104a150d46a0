"""What push means: names, messages, history, cursors, fan-out and slow peers.

Pure Python. Nothing here knows a socket, a clock or a log; time comes in as a number.
"""

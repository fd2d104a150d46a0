"""The pages that are there without a client of one's own: the list of doors, and an icon."""

import struct

INDEX = b"""\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>pushd</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 44em; margin: 2em auto; padding: 0 1em }
code { color: #046 }
</style>
<h1>pushd</h1>
<p>Publish once, and every subscriber hears it.
<pre><code>curl -N http://localhost:8080/sse/demo
curl -d hello http://localhost:8080/pub/demo</code></pre>
<dl>
<dt><code>POST /pub/CHANNEL</code> <dd>publish the body; <code>POST /pub</code> takes a batch of JSON lines
<dt><code>GET /pub/CHANNEL</code>, <code>DELETE /pub/CHANNEL</code> <dd>what is known of a channel; forget it
<dt><a href="/channels">/channels</a> <dd>the channels
<dt><code>/history/TOPICS</code> <dd>stored messages
<dt><code>/sse/TOPICS</code> <dd>server-sent events
<dt><code>/ws/TOPICS</code>, <code>/ws</code> <dd>WebSocket, bare or with the subprotocol <code>pushd.v1</code>
<dt><code>/stream/TOPICS</code> <dd>an endless body of JSON lines, or with <code>?format=raw</code> of bare data
<dt><a href="/metrics">/metrics</a>, <a href="/health/live">/health/live</a>, <a href="/health/ready">/health/ready</a>
<dd>for those who watch
</dl>
<p>TCP lines are on a port of their own: <code>telnet localhost 8081</code>, then <code>HELP</code>.
"""


def _icon() -> bytes:
    """Draw a 16 by 16 dot with a ring: one bit a pixel, in the ICO container of a BMP without its file header."""
    rows = []
    for y in range(16):
        row = 0
        for x in range(16):
            distance = (2 * x - 15) ** 2 + (2 * y - 15) ** 2
            row = row << 1 | (distance <= 36 or 121 <= distance <= 225)
        rows.append(row)
    seen = b"".join(struct.pack(">HH", row, 0) for row in rows)
    clear = b"".join(struct.pack(">HH", ~row & 0xFFFF, 0) for row in rows)
    bitmap = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 1, 0, 0, 0, 0, 2, 0) + b"\0\0\0\0\xa0\x50\x00\0" + seen + clear
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 2, 0, 1, 1, len(bitmap), 22) + bitmap


FAVICON = _icon()

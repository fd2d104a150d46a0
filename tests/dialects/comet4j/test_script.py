"""What `comet4j-0.1.7.js` makes of a stream, which it reads as often as more of it has arrived."""

import json
import subprocess
from urllib.parse import quote

from tests.programs import find_program

SETTINGS: dict[str, object] = {"dialects.enable": "comet4j"}
SCRIPT = """
var connector = {
  lastReceiveMessage: "",
  received: [],
  translateStreamData: function (text) {
    var parts = this.lastReceiveMessage ? text.split(this.lastReceiveMessage) : [text];
    this.lastReceiveMessage = text;
    return parts[parts.length - 1];
  },
  decode: function (text) { return eval("(" + decodeURIComponent(text.replace("<", "").replace(">", "")) + ")") },
  read: function (text) {
    var self = this;
    this.translateStreamData(text).split(">").forEach(function (part, index) {
      if (part || !index) self.received.push(self.decode(part).data);
    });
  }
};
var conn = connector.decode(%(conn)s), text = %(text)s, failures = 0;
for (var cut = 1; cut < text.length; cut++) {
  connector.lastReceiveMessage = "", connector.received = [];
  [text.slice(0, cut), text, text + "<%%7B%%22data%%22%%3A3%%7D>"].forEach(function (each) { connector.read(each) });
  if (String(connector.received.filter(Boolean)) != "1,2,3") failures++;
}
console.log(JSON.stringify([conn.data.ws, text.length, failures]));
"""


async def test_it_waits_for_the_rest_of_a_message(start_daemon):
    daemon = await start_daemon(SETTINGS)
    conn = (await daemon.request("GET", "/comet4j?cmd=conn&cv=0.1.7&channels=a&ws=stream&ram=0.5")).body.decode()
    text = "".join(f"<{quote(json.dumps({'data': number}), safe='')}>" for number in (1, 2))
    node = find_program("node", "nodejs")
    program = SCRIPT % {"conn": json.dumps(conn), "text": json.dumps(text)}
    result = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(result.stdout) == ["stream", len(text), 0]


async def test_others_receive_json(start_daemon):
    daemon = await start_daemon(SETTINGS)
    for query in ("cv=0.1.7&ws=lpool", "cv=0.1.7", "cv=2&ws=stream", "ws=stream"):
        conn = (await daemon.request("GET", f"/comet4j?cmd=conn&channels=a&{query}")).body
        assert conn.startswith(b"<%7B%22channel%22%3A%22c4j%22")

// Subscribes with a client of Bayeux, acknowledging what it receives. Prints a line per event: "handshake", "ready", and
// the JSON of each message.
// Arguments: the directory of the packages, cometd or faye, the URL, the transport, the channel.
import { pathToFileURL } from "node:url";

const [, , packages, library, url, transport, channel] = process.argv;
const load = (path) => import(pathToFileURL(`${packages}/${path}`));
const print = (line) => process.stdout.write(`${line}\n`);

// The extension of CometD, whose client for faye has none.
class Ack {
  #batch = 0;
  incoming(message, callback) {
    if (message.channel === "/meta/handshake") this.#batch = 0;
    const ack = message.ext?.ack;
    if (message.channel === "/meta/connect" && message.successful && typeof ack === "number") this.#batch = ack;
    callback(message);
  }
  outgoing(message, callback) {
    if (message.channel === "/meta/handshake") message.ext = { ...message.ext, ack: true };
    if (message.channel === "/meta/connect") message.ext = { ...message.ext, ack: this.#batch };
    callback(message);
  }
}

async function runCometd() {
  (await load("cometd-nodejs-client/cometd-nodejs-client.js")).adapt();
  const { CometD, AckExtension } = await load("cometd/cometd.js").then(async (module) => ({
    ...module,
    ...(await load("cometd/AckExtension.js")),
  }));
  const client = new CometD();
  for (const type of client.getTransportTypes()) if (type !== transport) client.unregisterTransport(type);
  client.registerExtension("ack", new AckExtension({ cometd: client }));
  client.configure({ url, backoffIncrement: 50, maxBackoff: 100, logLevel: "error" });
  client.addListener("/meta/handshake", (reply) => {
    if (!reply.successful) return;
    print("handshake");
    client.subscribe(channel, (message) => print(JSON.stringify(message.data)), () => print("ready"));
  });
  client.handshake();
}

async function runFaye() {
  const { default: faye } = await load("faye/src/faye_node.js");
  const client = new faye.Client(url, { retry: 0.05, timeout: 10 });
  client.addExtension(new Ack());
  client.addExtension({
    incoming(message, callback) {
      if (message.channel === "/meta/handshake" && message.successful) print("handshake");
      callback(message);
    },
  });
  if (transport !== "websocket") client.disable("websocket");
  await client.subscribe(channel, (data) => print(JSON.stringify(data)));
  print("ready");
}

await (library === "cometd" ? runCometd() : runFaye());

// Follows a channel until it has received COUNT messages, and prints what it has received as JSON.
import { readFileSync } from "node:fs";
import { WebSocket } from "../../../clients/js/node_modules/ws/wrapper.mjs";
import { connect } from "../../../pushd/api/pages/client/client.js";

const { url, channel, since, count, options } = JSON.parse(readFileSync(0, "utf8"));
const client = connect(url, { delay: 0.003, maxDelay: 0.006, WebSocket, ...options });
const received = [];
const gaps = [];
client.on("gap", ({ from, to, reason }) => gaps.push({ from, to, reason }));
for await (const message of client.subscribe(channel, { since })) {
  received.push(message.data);
  if (received.length >= count) break;
}
client.close();
console.log(JSON.stringify({ received, gaps }));

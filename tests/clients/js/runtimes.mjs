// Uses the client with one transport in any runtime: prints a line when it has to be interrupted, and what it has
// received as JSON at its end, which it reaches only if nothing of the client goes on after `close`.
import assert from "node:assert/strict";
import { connect } from "../../../pushd/api/pages/client/client.js";

const [url, transport, channel] = process.argv.slice(2);
const { WebSocket = (await import("../../../clients/js/node_modules/ws/wrapper.mjs")).WebSocket } = globalThis;
const client = connect(url, { delay: 0.01, maxDelay: 0.05, transports: [transport], WebSocket });
const gaps = [];
client.on("gap", (gap) => gaps.push(gap));

// Published before and while it is subscribed: a string, bytes and JSON.
const values = ["grüße", new Uint8Array([0, 255]), { a: [1, null] }];
await client.publish(channel, values[0]);
const received = client.subscribe(channel, { since: "all" });
assert.deepEqual((await received.next()).value.data, values[0]);
for (const value of values.slice(1)) {
  await client.publish(channel, value);
  assert.deepEqual((await received.next()).value.data, value);
}
assert.equal(client.transport, transport);

// A request is answered by a subscriber; a long poll takes it only while it waits, so the request is repeated.
const asked = client.subscribe(`${channel}/ask`, ({ data, reply_to }) => client.publish(reply_to, { twice: 2 * data }));
await new Promise((resolve) => asked.on("begin", resolve));
const ask = () => client.request(`${channel}/ask`, 21, { timeout: 30 });
let answer;
while (!answer) answer = await ask().catch(({ code }) => assert.equal(code, "no-responders"));
assert.deepEqual(answer, { twice: 42 });
asked.close();
await assert.rejects(client.publish("a//b", 1), { code: "bad-channel" });

// What is published while the daemon restarts arrives, once and in order.
console.log("subscribed");
const numbers = [];
for await (const { data } of received) if (numbers.push(data) == 20) break;
client.close();
console.log(JSON.stringify({ numbers, gaps }));

// Subscribes to more topics than one subscription may have, is disconnected, and fails at the first difference.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { WebSocket } from "../../../clients/js/node_modules/ws/wrapper.mjs";
import { connect } from "../../../pushd/api/pages/client/client.js";

const { url, transport, groups, topics, prefix, fits, code } = JSON.parse(readFileSync(0, "utf8"));
let socket;
class Socket extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    socket = this;
  }
}
const client = connect(url, { delay: 0.01, maxDelay: 0.02, WebSocket: Socket, transports: [transport] });
const until = async (condition) => {
  for (let i = 0; !condition(); i++) {
    assert(i < 6000, `timeout: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
const name = (group, topic) => `${prefix}/${group}/${topic}`;

const received = [];
const errors = [];
const begun = [];
for (let group = 0; group < groups; group++) {
  received[group] = [];
  const names = Array.from({ length: topics }, (_, topic) => name(group, topic));
  const subscription = client.subscribe(names, ({ data }) => received[group].push(data));
  subscription.on("error", ({ error }) => (errors[group] = error.code));
  begun[group] = new Promise((resolve) => ["begin", "error"].forEach((type) => subscription.on(type, resolve)));
}
await Promise.all(begun);
const publish = async (data) => {
  for (let group = 0; group < groups; group++)
    for (const topic of [0, topics - 1]) await client.publish(name(group, topic), data);
};
await publish(1);
if (transport == "websocket") {
  await until(() => received.every((data) => data.length == 2));
  socket.terminate();
}
await publish(2);
const all = received.filter((_, group) => group < fits);
await until(() => all.every((data) => data.length == 4));
await publish(3);
await until(() => all.every((data) => data.length == 6));
assert.deepEqual(all, Array(fits).fill([1, 1, 2, 2, 3, 3]));
await until(() => errors.filter(Boolean).length == groups - fits);
assert.deepEqual(new Set(errors.filter(Boolean)), new Set(fits < groups ? [code] : []));
assert.equal(client.state, "open");
client.close();

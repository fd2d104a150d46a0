// Uses the client with one transport against a daemon, and fails at the first difference.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { WebSocket } from "../../../clients/js/node_modules/ws/wrapper.mjs";
import { PushdError, connect } from "../../../pushd/api/pages/client/client.js";

const { url, proxy, transport } = JSON.parse(readFileSync(0, "utf8"));
const prefix = `behaviour/${transport}`;
const options = { delay: 0.01, maxDelay: 0.02, WebSocket, transports: [transport] };
const client = connect(url, options);

const until = async (condition) => {
  for (let i = 0; !condition(); i++) {
    assert(i < 6000, `timeout: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
const collect = (topics, subscribeOptions = {}) => {
  const data = [];
  const subscription = client.subscribe(topics, subscribeOptions, (message) => data.push(message.data));
  const begun = new Promise((resolve) => subscription.on("begin", resolve));
  return { data, subscription, begun };
};

// Subscriptions that overlap, with different starts, each receive everything once.
for (let i = 0; i < 5; i++) await client.publish(`${prefix}/a`, i);
const all = collect(`${prefix}/**`, { since: "all" });
const same = collect(`${prefix}/a`, { since: "last:2" });
const now = collect(`${prefix}/*`);
await Promise.all([all.begun, now.begun]);
await until(() => all.data.length == 5 && same.data.length == 2);
await client.publish(`${prefix}/a`, 5);
await until(() => now.data.length == 1 && all.data.length == 6 && same.data.length == 3);
const late = collect(`${prefix}/a`, { since: "all" });
await until(() => late.data.length == 6);
await client.publish(`${prefix}/a`, 6);
await until(() => [all, same, now, late].every(({ data }) => data.at(-1) == 6));
assert.deepEqual(all.data, [0, 1, 2, 3, 4, 5, 6]);
assert.deepEqual(late.data, all.data);
assert.deepEqual(same.data, [3, 4, 5, 6]);
assert.deepEqual(now.data, [5, 6]);
for (const { subscription } of [all, same, now, late]) subscription.close();

// All kinds of data arrive as they were published, and binary data as bytes.
const kinds = collect(`${prefix}/kinds`);
await kinds.begun;
const values = ["grüße", { a: [1, null] }, 5, new Uint8Array([0, 255])];
for (const value of values) await client.publish(`${prefix}/kinds`, value);
await until(() => kinds.data.length == 4);
assert.deepEqual(kinds.data, values);
kinds.subscription.close();

// An iteration ends with its channel, also one that had ended before.
await client.publish(`${prefix}/finite`, "one");
await client.publish(`${prefix}/finite`, "two", { end: true });
for (let i = 0; i < 2; i++) {
  const words = [];
  for await (const { data } of client.subscribe(`${prefix}/finite`, { since: "all" })) words.push(data);
  assert.deepEqual(words, ["one", "two"]);
}

// A request is answered by a subscriber.
const asked = client.subscribe(`${prefix}/ask`, ({ data, reply_to }) => client.publish(reply_to, { twice: 2 * data }));
await new Promise((resolve) => asked.on("begin", resolve));
// A long poll is a responder only while it waits, so the request is repeated.
let answer;
while (!answer)
  answer = await client.request(`${prefix}/ask`, 21, { timeout: 30 }).catch((error) => {
    assert.equal(transport, "longpoll");
    assert.equal(error.code, "no-responders");
  });
assert.deepEqual(answer, { twice: 42 });
asked.close();

// Refusals reach the one subscription that caused them.
const other = collect(`${prefix}/kinds`);
await other.begun;
await assert.rejects(client.subscribe("a//b").next(), (error) => error instanceof PushdError && error.code == "bad-topic");
await assert.rejects(client.publish("a//b", 1), { code: "bad-channel" });
await client.publish(`${prefix}/kinds`, "after");
await until(() => other.data.length == 1);

// Publishes whose answers are cut are published once, and in order.
const published = collect(`${prefix}/once`);
await published.begun;
const cut = connect(proxy, options);
await Promise.all(Array.from({ length: 20 }, (_, i) => cut.publish(`${prefix}/once`, i)));
await until(() => published.data.length >= 20);
assert.deepEqual(published.data, Array.from({ length: 20 }, (_, i) => i));

// Members come, change and go, also those that have no id, and without a subscription.
const room = client.presence(`${prefix}/room`);
let members = new Map();
await room.follow((list) => (members = new Map(list)));
await room.enter({ name: "Alice" }, { id: "alice" });
await until(() => members.get("alice")?.meta?.name == "Alice");
await room.enter({ name: "Bob" }, { id: "alice" });
await until(() => members.get("alice")?.meta?.name == "Bob");
await room.leave();
await until(() => members.size == 0);
const guest = connect(url, options);
await guest.presence(`${prefix}/room`).enter({ name: "Guest" });
await until(() => [...members.values()][0]?.meta?.name == "Guest");
assert.equal(guest.state, "open");
guest.close();
await until(() => members.size == 0);
assert.deepEqual(await room.members(), []);
client.close();
cut.close();

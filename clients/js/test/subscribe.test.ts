import { expect, test, vi } from "vitest";
import { type Subscription } from "../src/client.js";
import { FakeSocket, emptyPoll, eventStream, message, open, settle, withFakes } from "./fakes.js";

withFakes();

/** Answer commands until there are none: refuse subscriptions by their topics. Return the topics of those that were accepted. */
const answerAll = (refusal: (topics: string[]) => string | undefined): string[][] => {
  const socket = FakeSocket.last;
  const accepted: string[][] = [];
  while (socket.sent.length) {
    const { ref, subscribe } = socket.sent.shift();
    const topics: string[] = subscribe?.split(",");
    const code = subscribe && refusal(topics);
    if (code) socket.receive({ ref, error: { code, message: "refused" } });
    else socket.receive({ ref, ok: true, cursor: "e-1", connection: "c" });
    if (subscribe && !code) accepted.push(topics);
  }
  return accepted;
};

const upTo = (most: number) => (topics: string[]) => (topics.length > most ? "too-many-topics" : undefined);

const reconnect = async () => {
  FakeSocket.last.drop();
  await vi.advanceTimersByTimeAsync(2000);
  FakeSocket.last.open();
};

const errorsOf = (subscriptions: Record<string, Subscription>) => {
  const errors: Record<string, string> = {};
  for (const [name, subscription] of Object.entries(subscriptions))
    subscription.on("error", ({ error }) => (errors[name] = error.code));
  return errors;
};

test("more topics than one subscription may have are subscribed in parts, each from its cursor", async () => {
  const client = open();
  const received: Record<string, string[]> = {};
  for (const name of ["a", "b", "c", "d", "e"])
    client.subscribe([`${name}/1`, `${name}/2`], (m) => (received[name] ??= []).push(m.id!));
  await settle();
  FakeSocket.last.open();
  answerAll(upTo(4));
  FakeSocket.last.receive(message("e-2", "a/1"));
  await reconnect();
  const sent = FakeSocket.last.sent[0];
  expect([sent.subscribe.split(",").length, sent.since]).toEqual([10, "e-2"]);
  const accepted = answerAll(upTo(4));
  expect(accepted.flat().sort()).toEqual(["a", "b", "c", "d", "e"].flatMap((name) => [`${name}/1`, `${name}/2`]));
  for (const name of ["a", "b", "c", "d", "e"]) FakeSocket.last.receive(message(`e-${name.charCodeAt(0)}`, `${name}/2`));
  expect(received).toEqual({ a: ["e-2", "e-97"], b: ["e-98"], c: ["e-99"], d: ["e-100"], e: ["e-101"] });
});

test("parts that have channels in common receive the replay of each other", async () => {
  const client = open();
  for (const topics of ["a/**,x", "b", "c", "a/1"]) client.subscribe(topics, () => {});
  await settle();
  FakeSocket.last.open();
  answerAll(upTo(4));
  await reconnect();
  expect(answerAll(upTo(4)).at(-1)!.sort()).toEqual(["a/**", "a/1", "c", "x"]);
});

test("what does not fit together with what overlaps fails", async () => {
  const client = open();
  const subscriptions = Object.fromEntries(["a/1", "a/2", "a/3", "a/**", "b"].map((name) => [name, client.subscribe(name, () => {})]));
  const errors = errorsOf(subscriptions);
  await settle();
  FakeSocket.last.open();
  answerAll(upTo(3));
  await reconnect();
  answerAll(upTo(3));
  expect(errors).toEqual({ "a/**": "too-many-topics" });
  expect(client.state).toBe("open");
});

test("of those that resume only the refused ones fail, and the connection stays", async () => {
  const client = open();
  const subscriptions = Object.fromEntries(["a", "b/**", "b/1", "c"].map((name) => [name, client.subscribe(name, () => {})]));
  const errors = errorsOf(subscriptions);
  await settle();
  FakeSocket.last.open();
  answerAll(() => undefined);
  await reconnect();
  const accepted = answerAll((topics) => (topics.includes("b/**") ? "forbidden" : undefined));
  expect(errors).toEqual({ "b/**": "forbidden" });
  expect(accepted.flat().sort()).toEqual(["a", "b/1", "c"]);
  expect(FakeSocket.all).toHaveLength(2);
});

test("a subscription is not refused for another that it overlaps", async () => {
  vi.stubGlobal("fetch", async () => emptyPoll("e-1"));
  const client = open();
  const errors = errorsOf({ bad: client.subscribe("a/**", { since: "all" }, () => {}), good: client.subscribe("a/1", { since: "all" }, () => {}) });
  await settle();
  FakeSocket.last.open();
  await settle();
  expect(FakeSocket.last.sent).toHaveLength(4);
  answerAll((topics) => (topics.includes("a/**") ? "forbidden" : undefined));
  expect(errors).toEqual({ bad: "forbidden" });
});

test("over server-sent events, subscriptions that do not fit fail, and the others are connected", async () => {
  const urls: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    urls.push(url.split("?")[0]!);
    if (url.split(",").length > 2) return Response.json({ error: { code: "too-many-topics", message: "" } }, { status: 400 });
    if (url.includes("longpoll")) return emptyPoll("e-1");
    return eventStream('data: {"type":"begin","cursor":"e-1"}');
  });
  const client = open({ transports: ["sse"] });
  const errors = errorsOf(Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, client.subscribe(name, () => {})])));
  await vi.advanceTimersByTimeAsync(2000);
  expect(errors).toEqual({ c: "too-many-topics", d: "too-many-topics" });
  expect(urls.filter((url) => url.includes("sse")).slice(0, 2)).toEqual(["http://push.test/p/sse/a,b,c,d", "http://push.test/p/sse/a,b"]);
});

test("a transport that is refused although the subscriptions are not is replaced", async () => {
  const urls: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    urls.push(url.split("?")[0]!);
    if (url.includes("sse")) return new Response("", { status: 403 });
    if (url.includes("timeout=25")) await new Promise(() => {});
    return emptyPoll("e-1");
  });
  const client = open({ transports: ["sse", "longpoll"] });
  client.subscribe("a", () => {});
  await vi.advanceTimersByTimeAsync(1000);
  expect([client.transport, client.state]).toEqual(["longpoll", "open"]);
});

test("thousands of topics are subscribed to again without a pause of the page", async () => {
  const client = open();
  for (let i = 0; i < 20; i++) client.subscribe(Array.from({ length: 400 }, (_, topic) => `topics/${i}/${topic}`), () => {});
  await settle();
  FakeSocket.last.open();
  answerAll(upTo(1000));
  await reconnect();
  expect(answerAll(upTo(1000)).flat()).toHaveLength(8000);
}, 5000);

test("a subscription beyond the limit of the connection fails, and the others stay", async () => {
  const client = open();
  const errors = errorsOf({ a: client.subscribe("a", () => {}), b: client.subscribe("b", () => {}) });
  await settle();
  FakeSocket.last.open();
  answerAll(() => undefined);
  const late = errorsOf({ c: client.subscribe("c", () => {}) });
  await settle();
  answerAll(() => "too-many-subscriptions");
  expect([errors, late, FakeSocket.all.length, client.state]).toEqual([{}, { c: "too-many-subscriptions" }, 1, "open"]);
});

test("those that resume wait until there is room", async () => {
  const client = open();
  const errors = errorsOf({ a: client.subscribe("a", () => {}), b: client.subscribe("b", () => {}) });
  await settle();
  FakeSocket.last.open();
  answerAll(() => undefined);
  await reconnect();
  answerAll(() => "too-many-subscriptions");
  await settle();
  expect([errors, client.state]).toEqual([{}, "waiting"]);
});

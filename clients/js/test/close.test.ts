import { expect, test, vi } from "vitest";
import { FakeSocket, message, open, settle, withFakes } from "./fakes.js";

withFakes();

const polled = (...messages: object[]) => Response.json(messages, { headers: { "pushd-id": "e-9", "pushd-cursor": "e-9" } });

test.each(["websocket", "sse", "longpoll"] as const)("nothing is connected after the end, while a token is awaited: %s", async (transport) => {
  const urls: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => urls.push(url));
  let provide!: (token: string) => void;
  const client = open({ transports: [transport], token: () => new Promise((resolve) => (provide = resolve)) });
  const subscription = client.subscribe("a", () => {});
  await settle();
  subscription.close();
  provide("token");
  await settle();
  expect([FakeSocket.all, urls, client.state, vi.getTimerCount()]).toEqual([[], [], "idle", 0]);
});

test("no timer is left after the end, and publishes are tried once more", async () => {
  vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => {} });
  let requests = 0;
  vi.stubGlobal("fetch", async () => {
    requests++;
    throw new TypeError("failed");
  });
  const client = open({ resume: true });
  client.subscribe("a", () => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive(message("e-1", "a"));
  FakeSocket.last.drop();
  const published = [client.publish("a", 1), client.publish("a", 2)];
  await settle();
  client.close();
  for (const result of await Promise.allSettled(published)) expect(result.status).toBe("rejected");
  await vi.advanceTimersByTimeAsync(1);
  expect([requests, vi.getTimerCount(), client.state]).toEqual([3, 0, "closed"]);
});

test("no timer is left if the end comes while refusals are sought", async () => {
  let answer!: (response: Response) => void;
  vi.stubGlobal("fetch", () => new Promise((resolve) => (answer = resolve)));
  const client = open({ transports: ["longpoll"] });
  client.subscribe("a", () => {});
  await settle();
  const refused = () => Response.json({ error: { code: "forbidden", message: "" } }, { status: 403 });
  answer(refused());
  await vi.advanceTimersByTimeAsync(0);
  client.close();
  answer(refused());
  await vi.advanceTimersByTimeAsync(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("nothing is passed to a subscription that was closed, by itself or by another", async () => {
  const received: string[] = [];
  const client = open();
  const one = client.subscribe("a", (m) => {
    received.push(`one ${m.id}`);
    two.close();
  });
  const two = client.subscribe("a", (m) => received.push(`two ${m.id}`));
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive(message("e-1", "a"));
  one.close();
  FakeSocket.last.receive(message("e-2", "a"));
  expect(received).toEqual(["one e-1"]);
});

test("a subscription that closes itself receives no more of what is stored", async () => {
  vi.stubGlobal("fetch", async (_: string, { signal }: RequestInit) => {
    signal!.throwIfAborted();
    return polled(message("e-1", "a"), message("e-2", "a"));
  });
  const received: string[] = [];
  const client = open({ transports: ["longpoll"] });
  const subscription = client.subscribe("a", { since: "all" }, (m) => {
    received.push(m.id!);
    subscription.close();
  });
  await vi.advanceTimersByTimeAsync(0);
  expect(received).toEqual(["e-1"]);
});

test("what is stored is received once although the connection ends meanwhile", async () => {
  const answers: ((response: Response) => void)[] = [];
  vi.stubGlobal("fetch", () => new Promise((resolve) => answers.push(resolve)));
  const received: string[] = [];
  const client = open();
  client.subscribe("a/**", () => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer("e-0");
  client.subscribe("a/1", { since: "all" }, (m) => received.push(m.id!));
  await settle();
  FakeSocket.last.drop();
  await vi.advanceTimersByTimeAsync(2000);
  FakeSocket.last.open();
  await settle();
  expect(answers).toHaveLength(2);
  for (const answer of answers) answer(polled(message("e-1", "a/1"), message("e-2", "a/1")));
  await vi.advanceTimersByTimeAsync(0);
  expect(received).toEqual(["e-1", "e-2"]);
});

test("a refusal that comes after the end is no error", async () => {
  const errors: unknown[] = [];
  const client = open();
  client.on("error", ({ error }) => errors.push(error));
  client.subscribe("b", () => {});
  const subscription = client.subscribe("a");
  await settle();
  FakeSocket.last.open();
  subscription.close();
  for (const { ref, subscribe } of FakeSocket.last.sent)
    FakeSocket.last.receive(subscribe == "a" ? { ref, error: { code: "forbidden", message: "" } } : { ref, ok: true, cursor: "e-1" });
  expect([errors, await subscription.next()]).toEqual([[], { done: true, value: undefined }]);
});

test("an error that a callback throws is reported, and the others receive the message", async () => {
  const received: string[] = [];
  const client = open();
  client.subscribe("a", () => {
    throw new Error("of the page");
  });
  client.subscribe("a", (m) => received.push(m.id!));
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive(message("e-1", "a"));
  expect(received).toEqual(["e-1"]);
  expect(() => vi.advanceTimersByTime(1)).toThrow("of the page");
});

test("an iteration ends by a break while it is paused", async () => {
  const client = open();
  const subscription = client.subscribe("a");
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  for (let i = 1; i <= 1100; i++) FakeSocket.last.receive(message(`e-${i}`, "a"));
  for await (const { id } of subscription) if (id == "e-2") break;
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
  await vi.advanceTimersByTimeAsync(0);
  expect([client.state, vi.getTimerCount()]).toEqual(["idle", 0]);
});

test("a list of members that cannot be read again after a gap is an error of the client", async () => {
  const pages = [{ members: [], cursor: "e-1" }];
  vi.stubGlobal("fetch", async () => {
    const page = pages.shift();
    if (!page) throw new TypeError("failed");
    return Response.json(page);
  });
  const errors: string[] = [];
  const client = open();
  client.on("error", ({ error }) => errors.push(error.message));
  const changes = await client.presence("a").follow(() => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive({ type: "gap", topic: "$presence/a", from: "e-1", to: "e-5", reason: "evicted" });
  await settle();
  expect(errors).toEqual(["failed"]);
  changes.close();
});

test("without the file for tabs the client has a connection of its own", async () => {
  vi.doMock("../src/client-tabs.js", () => {
    throw new Error("not found");
  });
  vi.stubGlobal("navigator", { locks: {} });
  const client = open({ tabs: true });
  client.subscribe("a", () => {});
  await vi.dynamicImportSettled();
  await settle();
  expect(FakeSocket.all).toHaveLength(1);
  vi.doUnmock("../src/client-tabs.js");
});

import { expect, test, vi } from "vitest";
import { FakeSocket, emptyPoll, eventStream, message, open, settle, withFakes } from "./fakes.js";

withFakes();

test("a subscription resumes from the last message", async () => {
  const received: string[] = [];
  const client = open();
  client.subscribe("a", (m) => received.push(m.id!));
  await settle();
  expect(FakeSocket.last.url).toBe("ws://push.test/p/ws");
  FakeSocket.last.open();
  expect(FakeSocket.last.sent[0].since).toBeUndefined();
  FakeSocket.last.answer("e-4");
  FakeSocket.last.receive(message("e-5", "a"));
  FakeSocket.last.drop();
  await settle();
  expect(client.state).toBe("waiting");
  await vi.advanceTimersByTimeAsync(500);
  FakeSocket.last.open();
  expect(FakeSocket.last.sent[0]).toMatchObject({ subscribe: "a", since: "e-5" });
  FakeSocket.last.answer("e-5");
  FakeSocket.last.receive(message("e-5", "a"));
  FakeSocket.last.receive(message("e-6", "a"));
  expect(received).toEqual(["e-5", "e-6"]);
});

test("a subscription that has received nothing resumes from its start cursor", async () => {
  const client = open();
  client.subscribe("a", () => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer("e-4");
  FakeSocket.last.drop();
  await vi.advanceTimersByTimeAsync(1000);
  FakeSocket.last.open();
  expect(FakeSocket.last.sent[0].since).toBe("e-4");
});

test("a subscription that goes on after a reload begins, too", async () => {
  const items = { getItem: () => JSON.stringify({ "http://push.test/p a": "e-4" }), setItem: () => {} };
  vi.stubGlobal("sessionStorage", items);
  const begun: string[] = [];
  open({ resume: true }).subscribe("a", () => {}).on("begin", ({ cursor }) => begun.push(cursor));
  await settle();
  for (const cursor of ["e-7", "e-9"]) {
    FakeSocket.last.open();
    expect(FakeSocket.last.sent[0].since).toBe("e-4");
    FakeSocket.last.answer(cursor);
    FakeSocket.last.drop();
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(begun).toEqual(["e-4"]);
});

test("messages of other topics advance a quiet one, except during a replay", async () => {
  const client = open();
  const quiet = client.subscribe("quiet", () => {});
  client.subscribe("busy", () => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer("e-1");
  FakeSocket.last.receive(message("e-7", "busy"));
  expect(quiet.cursor).toBe("e-7");
  client.subscribe("other", { since: "all" }, () => {});
  await settle();
  FakeSocket.last.receive(message("e-8", "other"));
  expect(quiet.cursor).toBe("e-7");
  FakeSocket.last.answer("e-0");
  FakeSocket.last.receive(message("e-9", "busy"));
  expect(quiet.cursor).toBe("e-9");
});

test("a gap is reported once, and not for what was received", async () => {
  const gaps: any[] = [];
  const client = open();
  client.on("gap", ({ topic, reason }) => gaps.push([topic, reason]));
  client.subscribe("a", { since: "e-3" }, () => {});
  await settle();
  for (let i = 0; i < 2; i++) {
    FakeSocket.last.open();
    FakeSocket.last.answer("e-3");
    FakeSocket.last.receive({ type: "gap", topic: "a", from: "e-3", to: "e-5", reason: "evicted" });
    FakeSocket.last.drop();
    await vi.advanceTimersByTimeAsync(2000);
  }
  expect(gaps).toEqual([["a", "evicted"]]);
});

test("delays double, are random, and have a limit", async () => {
  const client = open({ delay: 1, maxDelay: 4 });
  client.subscribe("a", () => {});
  await settle();
  const delays: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = Date.now();
    const count = FakeSocket.all.length;
    FakeSocket.last.drop();
    while (FakeSocket.all.length == count) await vi.advanceTimersByTimeAsync(10);
    delays.push(Math.round((Date.now() - before) / 100) / 10);
  }
  expect(delays).toEqual([0.5, 1, 2, 2, 2]);
});

test.each([
  ["up to that of the stream", {}, [], 1.5],
  ["not above the limit of the page", { maxDelay: 0.02 }, [], 0.01],
  ["after what the daemon asks for", { maxDelay: 0.02 }, ["retry: 2000"], 2.01],
])("the delay after an event stream is random, %s", async (_, options, last, seconds) => {
  const began: number[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    if (url.includes("longpoll")) return emptyPoll("e-1");
    began.push(Date.now());
    return eventStream("retry: 3000", "", 'data: {"type":"begin","cursor":"e-1"}', "", ...last);
  });
  open({ transports: ["sse"], ...options }).subscribe("a", () => {});
  while (began.length < 2) await vi.advanceTimersByTimeAsync(10);
  expect((began[1]! - began[0]!) / 1000).toBeCloseTo(seconds, 1);
});

test.each([{}, { "pushd-id": "" }, { "pushd-id": "e-15" }, { "pushd-id": "e-15", "pushd-cursor": "e-1" }])(
  "an answer that was cut within its headers %o is no answer",
  async (cut) => {
    const answers: Record<string, string>[] = [cut, { "pushd-id": "e-15", "pushd-cursor": "e-15" }, cut];
    const urls: string[] = [];
    vi.stubGlobal("fetch", async (url: string) => {
      urls.push(url);
      const headers = answers.shift();
      return headers ? new Response(null, { status: 204, headers }) : new Promise(() => {});
    });
    const subscription = open({ transports: ["longpoll"] }).subscribe("a", () => {});
    while (urls.length < 4) await vi.advanceTimersByTimeAsync(100);
    expect(subscription.cursor).toBe("e-15");
    expect(urls.map((url) => new URL(url).searchParams.get("since"))).toEqual([null, null, "e-15", "e-15"]);
  },
);

test("a token is renewed when it expires, and after 4401", async () => {
  let count = 0;
  const client = open({ token: async () => `token${++count}` });
  client.subscribe("a", () => {});
  await settle();
  expect(FakeSocket.last.protocols).toEqual(["pushd.v1", "bearer.token1"]);
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive({ type: "expiring", at: 1800000000 });
  await settle();
  expect(FakeSocket.last.sent[0].auth).toBe("token2");
  FakeSocket.last.drop(4401, "token has expired");
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeSocket.last.protocols[1]).toBe("bearer.token3");
});

test("a refused token that cannot be renewed fails the subscription", async () => {
  const client = open({ token: "static" });
  const next = client.subscribe("a").next();
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.drop(4401, "unknown token");
  await expect(next).rejects.toThrow("unknown token");
});

test("a silent connection is checked, and replaced if nothing comes back", async () => {
  const client = open();
  client.subscribe("a", () => {});
  await settle();
  const socket = FakeSocket.last;
  socket.open();
  socket.answer();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(socket.sent.map(({ ping }) => ping)).toEqual([0]);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(FakeSocket.all).toHaveLength(2);
});

test("after a jump of the clock the connection is checked at once", async () => {
  const client = open();
  client.subscribe("a", () => {});
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  vi.setSystemTime(Date.now() + 3600_000);
  await vi.advanceTimersByTimeAsync(5000);
  expect(FakeSocket.last.sent).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(6000);
  expect(FakeSocket.all).toHaveLength(2);
});

test("a handshake without an answer leads to the next transport after eight seconds", async () => {
  const urls: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    urls.push(url);
    throw new TypeError("failed");
  });
  const client = open({ transports: ["websocket", "longpoll"] });
  client.subscribe("a", { since: "e-1" }, () => {});
  await settle();
  await vi.advanceTimersByTimeAsync(8600);
  expect(urls).toEqual(["http://push.test/p/longpoll/a?since=e-1&timeout=0"]);
});

test("an iteration that is not read leaves the rest at the daemon", async () => {
  const client = open();
  const subscription = client.subscribe("a");
  await settle();
  const socket = FakeSocket.last;
  socket.open();
  socket.answer();
  for (let i = 1; i <= 1200; i++) socket.receive(message(`e-${i}`, "a"));
  for (let i = 1; i <= 1000; i++) expect((await subscription.next()).value!.id).toBe(`e-${i}`);
  expect(socket.sent[0]).toMatchObject({ subscribe: "a", since: "e-1000" });
  socket.answer("e-1000");
  socket.receive(message("e-1001", "a"));
  expect((await subscription.next()).value!.id).toBe("e-1001");
});

test("an iteration ends with the last channel", async () => {
  const subscription = open().subscribe(["a", "b"]);
  await settle();
  FakeSocket.last.open();
  FakeSocket.last.answer();
  FakeSocket.last.receive({ type: "end", channel: "a" });
  FakeSocket.last.receive(message("e-1", "b"));
  FakeSocket.last.receive({ type: "end", channel: "b" });
  const received: (string | undefined)[] = [];
  for await (const { id } of subscription) received.push(id);
  expect(received).toEqual(["e-1"]);
});

test("a publish is repeated with the same key, and not after a refusal", async () => {
  const keys: string[] = [];
  const outcomes = [new TypeError("cut"), Response.json({ error: { code: "unavailable", message: "" } }, { status: 503 })];
  vi.stubGlobal("fetch", async (_: string, init: any) => {
    keys.push(init.headers["idempotency-key"]);
    const outcome = outcomes.shift() ?? Response.json({ id: "e-1", subscribers: 0 });
    if (outcome instanceof Error) throw outcome;
    return outcome;
  });
  const client = open();
  const published = client.publish("a", "x");
  await vi.advanceTimersByTimeAsync(5000);
  expect((await published).id).toBe("e-1");
  expect(new Set(keys).size).toBe(1);
  expect(keys).toHaveLength(3);
  outcomes.push(Response.json({ error: { code: "forbidden", message: "no" } }, { status: 403 }));
  await expect(client.publish("a", "x")).rejects.toMatchObject({ code: "forbidden" });
  expect(keys).toHaveLength(4);
});

test("a reply without a type was cut within its headers", async () => {
  vi.stubGlobal("fetch", async () => new Response(null));
  await expect(open().request("a", "x")).rejects.toThrow("closed");
});

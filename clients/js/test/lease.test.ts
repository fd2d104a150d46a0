import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect, type Options } from "../src/client.js";
import { emptyPoll, settle } from "./fakes.js";

let requests: string[];
let outcome: (request: string) => [status: number, code: string] | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  requests = [];
  outcome = () => undefined;
  vi.stubGlobal("fetch", async (url: string, { method, body, signal, keepalive }: RequestInit) => {
    if (!url.includes("/presence/")) {
      if (url.includes("timeout=0")) return emptyPoll("e-1");
      return new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new Error("aborted"))));
    }
    const request = `${method} ${url.replace("http://push.test/presence/", "")} ${body ?? ""}`.trim();
    requests.push(request);
    expect(keepalive).toBe(true);
    const [status, code] = outcome(request) ?? [200, ""];
    return Response.json({ error: { code, message: code } }, { status });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const open = (options: Options = {}) => connect("http://push.test", { transports: ["longpoll"], ...options });

/** Let the file with the leases be loaded. */
const load = () => vi.dynamicImportSettled();

test("a member has a lease that is renewed until it leaves", async () => {
  const client = open();
  const room = client.presence("a/b");
  await settle();
  const entered = room.enter({ name: "Alice" });
  await load();
  await settle();
  await entered;
  await vi.advanceTimersByTimeAsync(20_000);
  const put = 'PUT a/b?presence=self {"name":"Alice"}';
  expect(requests).toEqual([put, put, put]);
  await room.leave();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(requests.slice(3)).toEqual(['DELETE a/b?presence=self {"name":"Alice"}']);
});

test("a member that leaves in the moment of the end has left", async () => {
  const client = open();
  const room = client.presence("a");
  await Promise.all([room.enter(), load()]);
  void room.leave();
  client.close();
  await vi.advanceTimersByTimeAsync(1);
  expect([requests, vi.getTimerCount()]).toEqual([["PUT a?presence=self", "DELETE a?presence=self"], 0]);
});

test("a lease that is begun in the moment of the end has ended", async () => {
  const client = open();
  client.subscribe("b", () => {});
  await vi.advanceTimersByTimeAsync(1);
  void client.presence("a").enter();
  await load();
  await vi.waitUntil(() => requests.length == 1, { timeout: 30_000 });
  client.close();
  await vi.advanceTimersByTimeAsync(1);
  expect([requests, vi.getTimerCount()]).toEqual([["PUT a?presence=self", "DELETE a?presence=self"], 0]);
});

test("without a subject the member has one id of its own", async () => {
  outcome = (request) => (request.includes("self") ? [400, "bad-parameter"] : undefined);
  const client = open();
  await Promise.all([client.presence("a").enter(), client.presence("b").enter(), load()]);
  client.close();
  await vi.advanceTimersByTimeAsync(1);
  const id = /presence_id=(.*)/.exec(requests[1]!)![1];
  const own = (method: string) => ["a", "b"].map((channel) => `${method} ${channel}?presence_id=${id}`);
  expect(requests.filter((request) => !request.includes("self"))).toEqual([...own("PUT"), ...own("DELETE")]);
});

test("a refusal is thrown, and not repeated", async () => {
  outcome = () => [403, "forbidden"];
  const client = open();
  client.subscribe("b", () => {});
  await vi.advanceTimersByTimeAsync(1);
  expect(client.state).toBe("open");
  await expect(client.presence("a").enter(null, { id: "bob" })).rejects.toMatchObject({ code: "forbidden" });
  await vi.advanceTimersByTimeAsync(30_000);
  expect(requests).toEqual(["PUT a?presence_id=bob null"]);
});

test("a lease ends when the page is hidden for good", async () => {
  const listeners = new Set<(event: object) => void>();
  vi.stubGlobal("addEventListener", (type: string, listener: any) => type == "pagehide" && listeners.add(listener));
  vi.stubGlobal("removeEventListener", (_: string, listener: any) => listeners.delete(listener));
  const client = open();
  await Promise.all([client.presence("a").enter(), load()]);
  const hide = (persisted: boolean) => listeners.forEach((listener) => listener({ persisted }));
  hide(true);
  await settle();
  expect(requests).toHaveLength(1);
  hide(false);
  await settle();
  expect(requests[1]).toBe("DELETE a?presence=self");
  client.close();
  await vi.advanceTimersByTimeAsync(1);
  expect([requests.length, listeners.size, vi.getTimerCount()]).toEqual([2, 0, 0]);
});

test("leases of a client without subscriptions last after a silence", async () => {
  const client = open();
  await Promise.all([client.presence("a").enter(), load()]);
  const states: string[] = [];
  client.on("state", ({ state }) => states.push(state));
  await vi.advanceTimersByTimeAsync(100_000);
  expect([client.state, states]).toEqual(["open", []]);
  expect(requests.length).toBe(11);
});

import { afterEach, beforeEach, vi } from "vitest";
import { connect, type Client, type Options } from "../src/client.js";

/** Run the tests of a file with a clock of their own, no chance, and no sockets left. */
export const withFakes = (): void => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    FakeSocket.all = [];
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
};

/** Make a client whose WebSockets are fakes. */
export const open = (options: Options = {}): Client =>
  connect("http://push.test/p/", { WebSocket: FakeSocket as any, transports: ["websocket"], ...options });

/** Return a message as it is sent. */
export const message = (id: string, channel: string, data: unknown = id): object => ({ id, channel, data, prev: null, time: 0 });

/** A WebSocket whose other side is the test. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: any[] = [];
  onopen?: () => void;
  onmessage?: (event: { data: string }) => void;
  onclose?: (event: { code: number; reason: string }) => void;
  onerror?: () => void;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen!();
  }

  receive(wire: object): void {
    this.onmessage!({ data: JSON.stringify(wire) });
  }

  /** Answer all commands that were not answered: subscriptions with a cursor. */
  answer(cursor = "e-0"): void {
    for (const { ref, subscribe, ping } of this.sent.splice(0))
      this.receive(ping == null ? { ref, ok: true, subscribe, cursor, connection: "c" } : { ref, ok: true, pong: ping });
  }

  drop(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose!({ code, reason });
  }
}

/** Let everything run that does not wait for time. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** Return the answer to a request for an event stream; it ends after these lines. */
export const eventStream = (...lines: string[]): Response => new Response(lines.map((line) => `${line}\n`).join(""));

/** Return the answer to a poll without messages. */
export const emptyPoll = (cursor: string): Response =>
  new Response(null, { status: 204, headers: { "pushd-id": cursor, "pushd-cursor": cursor } });

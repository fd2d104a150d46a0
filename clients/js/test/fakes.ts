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

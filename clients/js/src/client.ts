/** A client of pushd for browsers, Node.js, Deno and Bun. */

import { Engine, mostSeconds, type EngineOptions, type Sink, type State, type TransportName } from "./engine.js";
import { Http, type HttpOptions, type TokenSource } from "./http.js";
import { Presence, type Member } from "./presence.js";
import { PushdError, ignore, isTemporary, pause, stored, unique, type Gap, type Message } from "./wire.js";

export { Presence, PushdError };
export type { Gap, Member, Message, State, TokenSource, TransportName };

export interface Options extends HttpOptions, EngineOptions {
  /** Share one connection among all tabs of the browser (secure contexts only; otherwise each tab has its own). */
  tabs?: boolean;
  /** Keep the cursors in `sessionStorage`, so that subscriptions go on after a reload. */
  resume?: boolean;
}

export interface SubscribeOptions {
  /** Where to start: a cursor, `all`, `last:N`, `latest`, `10m`, or unix seconds; by default now. */
  since?: string;
  /** What happens when this client is too slow. */
  slow?: "disconnect" | "drop" | "latest";
}

export interface PublishOptions {
  event?: string;
  /** Content type of the data, if not the one of its kind. */
  type?: string;
  /** Seconds after which the message expires. */
  ttl?: number;
  /** `false`: for the subscribers that are connected now. */
  keep?: boolean;
  /** `false`: not to the connection of this client. */
  echo?: boolean;
  /** The last message of the channel. */
  end?: boolean;
  /** Key that makes a repeated publish idempotent; by default a random one for each publish. */
  key?: string;
}

/** Target of events, with a shorter form to listen to them. */
class Target extends EventTarget {
  /** Call a function with the `detail` of the events of a type; return a function that ends this. */
  on(type: string, listener: (detail: Record<string, any>) => void): () => void {
    const call = (event: Event) => listener((event as CustomEvent).detail);
    this.addEventListener(type, call);
    return () => this.removeEventListener(type, call);
  }

  _emit(type: string, detail: object): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What carries subscriptions: a connection of its own, or one that is shared among tabs. */
export type Carrier = Pick<Engine, "_add" | "_remove" | "_rejoin" | "_enter" | "_probe" | "_close" | "_state" | "_transport" | "_connection">;

/** Messages that wait for `for await`; beyond that the rest stays at the daemon. */
const MOST_WAITING = 1000;

/** A subscription. Messages are passed to its callback, or to `for await`. Events: `gap`, `end`, `error`. */
export class Subscription<T = any> extends Target implements Sink, AsyncIterableIterator<Message<T>> {
  readonly since?: string;
  readonly slow?: string;
  _cursor?: string;
  _joined?: boolean;
  _gaps = "";
  private _consumed?: string;
  private _waiting: Message[] = [];
  private _readers: (() => void)[] = [];
  private _begun?: boolean;
  private _error?: PushdError;
  private _isClosed?: boolean;
  private _open: Set<string>;

  constructor(
    readonly topics: string[],
    { since, slow }: SubscribeOptions,
    private readonly _callback: ((message: Message<T>) => void) | undefined,
    private readonly _client: Client,
  ) {
    super();
    this.since = since;
    this.slow = slow;
    this._cursor = this._consumed = _client._stored(topics);
    this._open = new Set(topics);
  }

  /** Everything up to this id was passed to the page. */
  get cursor(): string | undefined {
    return this._consumed;
  }

  /** Unsubscribe; an iteration ends. */
  close(): void {
    if (this._isClosed) return;
    this._isClosed = true;
    this._client._drop(this);
    this._wake();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Message<T>>> {
    for (;;) {
      const message = this._waiting.shift();
      if (message) {
        this._consume(message);
        // It was paused, or the connection has ended.
        if (!this._joined && !this._waiting.length) this._client._carrier?._rejoin(this);
        return { done: false, value: message };
      }
      if (this._error) throw this._error;
      if (this._isClosed) return { done: true, value: undefined };
      await new Promise<void>((resolve) => this._readers.push(resolve));
    }
  }

  async return(): Promise<IteratorResult<Message<T>>> {
    this._waiting = [];
    this.close();
    return { done: true, value: undefined };
  }

  _message(message: Message<T>): void {
    if (this._isClosed) return;
    if (this._callback) {
      this._consume(message);
      try {
        this._callback(message);
      } catch (error) {
        // Not every platform has `reportError`.
        setTimeout(() => {
          throw error;
        });
      }
    } else {
      this._waiting.push(message);
      if (this._waiting.length >= MOST_WAITING) this._joined = false;
      this._wake();
    }
  }

  _gap(gap: Gap): void {
    this._report("gap", gap);
  }

  /** A channel has ended. A subscription without patterns closes when all its channels have. */
  _end(channel: string): void {
    this._report("end", { channel });
    if (this._open.delete(channel) && !this._open.size) this.close();
  }

  _moved(): void {
    this._begun ||= (this._emit("begin", { cursor: this._cursor }), true);
    if (!this._waiting.length) this._consumed = this._cursor;
    this._client._save();
  }

  _fail(error: PushdError): void {
    this._error = error;
    this._report("error", { error });
    this.close();
  }

  private _report(type: string, detail: object): void {
    this._emit(type, detail);
    this._client._emit(type, { ...detail, subscription: this });
  }

  private _wake(): void {
    for (const resolve of this._readers.splice(0)) resolve();
  }

  private _consume({ id }: Message): void {
    this._consumed = id ?? this._consumed;
    this._client._save();
  }
}

/** A client; `connect` makes one. Events: `state`, `gap`, `end`, `expiring`, `error`. */
export class Client extends Target {
  readonly _http: Http;
  _carrier?: Carrier;
  private readonly _subscriptions = new Set<Subscription>();
  readonly _ready: Promise<void>;
  private _queue: Promise<unknown> = Promise.resolve();
  private _saves?: ReturnType<typeof setTimeout>;
  private readonly _closed = new AbortController();

  constructor(
    url: string,
    private readonly _options: Options,
  ) {
    super();
    const base = new URL(url, globalThis.location?.href);
    this._http = new Http(base.origin + base.pathname.replace(/\/$/, ""), _options);
    this._ready = this._open();
    this._listen();
  }

  get state(): State {
    return this._carrier?._state ?? "idle";
  }

  get transport(): TransportName | undefined {
    return this._carrier?._transport;
  }

  /**
   * Subscribe to topics: channels, or patterns such as `news/**`; several in an array, or joined by commas.
   *
   * @param options where to start; or the callback.
   * @param callback called with each message; without one, use `for await`.
   */
  subscribe<T = any>(
    topics: string | string[],
    options: SubscribeOptions | ((message: Message<T>) => void) = {},
    callback?: (message: Message<T>) => void,
  ): Subscription<T> {
    if (typeof options == "function") [options, callback] = [{}, options];
    const subscription = new Subscription<T>([...new Set(`${topics}`.split(","))], options, callback, this);
    this._subscriptions.add(subscription);
    void this._ready.then(() => this._subscriptions.has(subscription) && this._carrier!._add(subscription));
    return subscription;
  }

  /**
   * Publish to a channel: a string as text, bytes as they are, anything else as JSON. It is tried again for a minute with
   * the same key, so that it is published once. Messages that are kept are published in the order of the calls.
   *
   * @throws PushdError if the daemon refuses it.
   */
  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<{ id: string | null; subscribers: number }> {
    const { type, keep, echo, end, key = unique(), ...query } = options;
    const except = echo === false && this._carrier?._connection;
    const init = body(data, type);
    const send = async () =>
      (await this._http._send("pub/", [channel], { ...query, keep: keep === false && "0", end: end && 1, except }, init)).json();
    if (keep === false || channel[0] == "$") return send();
    init.headers["idempotency-key"] = key;
    const result = this._queue.then(() => this._repeat(send));
    this._queue = result.catch(ignore);
    return result;
  }

  /**
   * Publish a request; return the data of the first reply. To answer one, publish to its `reply_to`.
   *
   * @param options.timeout seconds to wait for a reply.
   * @throws PushdError with the code `no-responders` or `no-reply`, or another refusal.
   */
  async request<T = any>(
    channel: string,
    data: unknown,
    { type, ...query }: { timeout?: number; event?: string; type?: string } = {},
  ): Promise<T> {
    const answer = await this._http._send("request/", [channel], query, body(data, type));
    const kind = answer.headers.get("content-type");
    // As of a poll: it was cut within its headers.
    if (!kind) throw Error("closed");
    if (/json/.test(kind)) return answer.json();
    return (/^text|charset/.test(kind) ? answer.text() : new Uint8Array(await answer.arrayBuffer())) as T;
  }

  /** Return the presence of a channel: its members, and the membership of this client. */
  presence(channel: string): Presence {
    return new Presence(channel, this);
  }

  /** Close the connection and all subscriptions. */
  close(): void {
    for (const subscription of [...this._subscriptions]) subscription.close();
    this._carrier?._close();
    this._closed.abort();
  }

  _drop(subscription: Subscription): void {
    this._write();
    this._subscriptions.delete(subscription);
    this._carrier?._remove(subscription);
  }

  /** Return the cursor that was stored for topics before a reload. */
  _stored(topics: string[]): string | undefined {
    if (this._options.resume) return read()[this._key(topics)];
  }

  /** Store the cursors within a second. */
  _save(): void {
    if (this._options.resume) this._saves ??= setTimeout(() => this._write(), 1000);
  }

  private async _open(): Promise<void> {
    const engine = new Engine(this._http, this._options, (type, detail) => this._emit(type, detail));
    // Only secure contexts have locks.
    this._carrier =
      this._options.tabs && globalThis.navigator?.locks
        ? await import("./client-tabs.js").then(({ share }) => share(engine)).catch(() => engine)
        : engine;
    if (this._closed.signal.aborted) this._carrier!._close();
  }

  private async _repeat(send: () => Promise<any>): Promise<any> {
    const { signal } = this._closed;
    const until = Date.now() + 60_000;
    for (let attempt = 0; ; attempt++) {
      try {
        return await send();
      } catch (error) {
        if (!isTemporary(error) || Date.now() > until || signal.aborted) throw error;
        const wait = (error as PushdError).retryAfter ?? 0;
        // One publish waits at a time; after the end each is tried once more.
        await pause(wait + Math.random() * mostSeconds(this._options, attempt), (wake) => (signal.onabort = wake));
      }
    }
  }

  private _listen(): void {
    if (!globalThis.document) return;
    const check = () => {
      this._write();
      if (!document.hidden) this._carrier?._probe();
    };
    for (const type of ["online", "pageshow", "pagehide", "visibilitychange", "freeze"])
      addEventListener(type, check, { capture: true, signal: this._closed.signal });
  }

  private _key(topics: string[]): string {
    return `${this._http.base} ${topics}`;
  }

  private _write(): void {
    clearTimeout(this._saves);
    this._saves = undefined;
    if (!this._options.resume) return;
    const cursors = read();
    for (const { topics, cursor } of this._subscriptions) if (cursor) cursors[this._key(topics)] = cursor;
    stored("sessionStorage", "pushd", JSON.stringify(cursors));
  }
}

/** Return the body of a publish; strings and binary data get their type from fetch or from the daemon. */
const body = (data: unknown, type?: string): RequestInit & { headers: Record<string, string> } => {
  const isRaw = typeof data == "string" || data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data);
  return {
    method: "POST",
    body: isRaw ? (data as BodyInit) : JSON.stringify(data),
    headers: type || !isRaw ? { "content-type": type ?? "application/json" } : {},
  };
};

const read = (): Record<string, string> => JSON.parse(stored("sessionStorage", "pushd") || "{}");

/**
 * Make a client. It connects with the first subscription.
 *
 * @param url address of the daemon, with the prefix if it is mounted below one.
 */
export const connect = (url: string, options: Options = {}): Client => new Client(url, options);

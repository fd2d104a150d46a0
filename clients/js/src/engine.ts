/** The connection: which transport, when to reconnect, and what each subscription has received. */

import type { Http } from "./http.js";
import { longPoll, poll, topicsOf } from "./longpoll.js";
import { eventStream } from "./sse.js";
import { webSocket } from "./websocket.js";
import {
  PushdError,
  decode,
  intersects,
  isAfter,
  isRefusal,
  oldest,
  pause,
  stored,
  type Gap,
  type Message,
  type Wire,
} from "./wire.js";

export type TransportName = "websocket" | "sse" | "longpoll";

/** `waiting` is the time between two attempts; `closed` is final; `idle` is without subscriptions. */
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/** A subscription as the connection sees it. */
export interface Sink {
  readonly topics: string[];
  readonly since?: string;
  readonly slow?: string;
  /** Everything up to here was received. */
  _cursor?: string;
  /** Whether messages are delivered: from the answer to its subscription until the connection ends. */
  _joined?: boolean;
  /** Gaps that were reported since the last message. */
  _gaps: string;
  _message(message: Message): void;
  _gap(gap: Gap): void;
  _end(channel: string): void;
  /** The position is known, or has changed without a message. */
  _moved(): void;
  _fail(error: PushdError): void;
}

/** A member of a channel on this connection. */
export interface Entry {
  meta?: unknown;
  id?: string;
}

/** An open connection. Methods that are missing require a new connection. */
export interface Link {
  _add?(sink: Sink): unknown;
  _remove?(topics: string[]): unknown;
  _renew?(token: string): void;
  _enter?(channel: string, entry: Entry | undefined): Promise<unknown>;
  /** Called every five seconds, and with `true` when the network or the page has changed. */
  _check(probe: boolean): unknown;
  /** End it. */
  _close(): void;
}

/** Why a connection has ended. */
export interface Fault {
  /** Seconds to wait at least. */
  _wait?: number;
  /** Upper end of the random delay in addition, if greater than usual, in seconds. */
  _spread?: number;
  /** The token was refused. */
  _auth?: boolean;
  /** The transport cannot work here. */
  _stalled?: boolean;
  /** The daemon has answered: it is not the transport. */
  _answered?: boolean;
  /** Perhaps a refusal that one of the subscriptions has caused. */
  error?: unknown;
}

export interface EngineOptions {
  transports?: TransportName[];
  WebSocket?: typeof WebSocket;
  /** Upper end of the random delay before the first reconnect, in seconds; it doubles with each attempt. */
  delay?: number;
  maxDelay?: number;
}

/** Milliseconds in which the start cursor has to arrive, else something on the way holds it back; a long poll may be a large answer. */
const START_MS = 8000;
const TICK_MS = 5000;
const HOUR_MS = 3600_000;

/** Return the upper end of the random delay before an attempt. */
export const mostSeconds = ({ delay = 1, maxDelay }: EngineOptions, attempt: number, most = 30): number =>
  Math.min(maxDelay ?? most, delay * 2 ** attempt);

const TRANSPORTS = { websocket: webSocket, sse: eventStream, longpoll: longPoll };

export class Engine {
  readonly _sinks = new Set<Sink>();
  readonly _entries = new Map<string, Entry>();
  _state: State = "idle";
  _transport?: TransportName;
  /** Id of the connection at the daemon, while there is one. */
  _connection?: string;
  _link?: Link;
  /** While it is 0, the ids of all messages increase, so each is a cursor for all topics. */
  _replays = 0;
  _epochOf?: string;
  private _names: TransportName[];
  private _at = 0;
  private _failures = 0;
  private _attempt = 0;
  private _wake?: () => void;
  private _ticker?: ReturnType<typeof setInterval>;
  private _ticked!: number;
  private _leases?: Promise<(channel?: string) => Promise<unknown>>;
  /** Whether other tabs use it, too. */
  _isShared?: () => boolean;
  private _starting?: ReturnType<typeof setTimeout>;
  private _restarts?: boolean;

  constructor(
    readonly _http: Http,
    readonly _options: EngineOptions,
    /** Called with the events of the connection. */
    public _emit: (type: string, detail: Wire) => void,
  ) {
    this._names = _options.transports ?? (Object.keys(TRANSPORTS) as TransportName[]);
    const [name, until] = stored("localStorage", this._key)?.split(" ") ?? [];
    this._at = +until > Date.now() ? Math.max(0, this._names.indexOf(name as TransportName)) : 0;
  }

  _add(sink: Sink): void {
    this._sinks.add(sink);
    this._start();
    if (this._link?._add) this._link._add(sink);
    else this._restart();
  }

  _remove(sink: Sink): void {
    if (!this._sinks.delete(sink)) return;
    const used = topicsOf(this._sinks);
    const unused = sink.topics.filter((topic) => !used.includes(topic));
    if (!this._isNeeded()) this._link?._close();
    else if (unused.length) this._link?._remove ? this._link._remove(unused) : this._restart();
  }

  /** Enter a channel, or with undefined leave it. */
  async _enter(channel: string, entry: Entry | undefined): Promise<unknown> {
    if (entry) this._entries.set(channel, entry);
    else this._entries.delete(channel);
    this._start();
    return this._link?._enter ? this._link._enter(channel, entry) : this._lease(channel);
  }

  /** Enter a channel, or all that were entered, by leases, where the transport is no WebSocket. */
  private async _lease(channel?: string): Promise<unknown> {
    if (this._link ? this._link._enter : !this._leases) return;
    this._leases ??= import("./client-lease.js").then(({ lease }) => lease(this));
    return (await this._leases)(channel);
  }

  /** Check the connection now: the network or the page has changed. */
  _probe(): void {
    this._link?._check(true);
    this._attempt = 0;
    this._wake?.();
  }

  /** Give up all subscriptions and the connection, without closing them. */
  _release(): void {
    this._sinks.clear();
    this._entries.clear();
    this._link?._close();
  }

  /** Close for good. */
  _close(): void {
    this._set("closed");
    this._release();
    this._wake?.();
  }

  /** Called by a transport when the daemon has answered. */
  _begin(sinks: Sink[], cursor?: string, connection?: string): void {
    for (const sink of sinks) {
      sink._joined = true;
      sink._cursor ??= cursor;
      sink._moved();
    }
    this._connection = connection ?? this._connection;
    this._failures = 0;
    clearTimeout(this._starting);
    if (this._state != "open") {
      if (this._at) stored("localStorage", this._key, `${this._transport} ${Date.now() + HOUR_MS}`);
      this._set("open");
      if (this._entries.size) this._lease().catch(this._warn);
    }
  }

  /** Deliver an object that is no reply. */
  _receive(wire: Wire): void {
    if (wire.type == "gap") this._gap(wire as Gap);
    else if (wire.type == "end") this._end(wire.channel);
    else if (wire.type == "expiring") this._expiring(wire);
    else if (!wire.type) this._message(decode(wire));
  }

  /** Receive the topics of a sink anew, from its cursor. */
  _rejoin(sink: Sink): void {
    if (this._sinks.delete(sink)) this._add(sink);
  }

  /** Return the cursor from which none of the sinks misses anything. */
  _oldest(sinks: Sink[]): string {
    return oldest(
      sinks.map((sink) => sink._cursor!),
      this._epochOf,
    );
  }

  /** Have the sinks fail that the daemon refuses, alone or together with those before them. */
  async _findRefused(): Promise<void> {
    const accepted: Sink[] = [];
    for (const sink of this._sinks) {
      accepted.push(sink);
      try {
        await poll(this, topicsOf(accepted), sink._cursor ?? sink.since, 0);
      } catch (error) {
        accepted.pop();
        if (isRefusal(error)) this._fail(sink, error);
      }
    }
    // It is the transport.
    if (accepted.length == this._sinks.size) this._choose({ _stalled: true });
  }

  _fail(sink: Sink, error: PushdError): void {
    if (!this._sinks.has(sink)) return;
    this._remove(sink);
    sink._fail(error);
  }

  _restart(): void {
    if (!this._link) return;
    this._restarts = true;
    this._link._close();
  }

  private _message(message: Message): void {
    const { id, channel } = message;
    if (id) this._epochOf = id;
    for (const sink of this._sinks) {
      if (!sink._joined || (id && !isAfter(id, sink._cursor))) continue;
      const wanted = sink.topics.some((topic) => intersects(topic, channel));
      if (id && (wanted || !this._replays)) {
        sink._cursor = id;
        sink._gaps = "";
      }
      if (wanted) sink._message(message);
      else if (id && !this._replays) sink._moved();
    }
  }

  private _gap(gap: Gap): void {
    const key = JSON.stringify(gap);
    for (const sink of this._sinks)
      if (sink._joined && isAfter(gap.to, sink._cursor) && sink.topics.includes(gap.topic) && !sink._gaps.includes(key)) {
        sink._gaps += key;
        sink._gap(gap);
      }
  }

  private _end(channel: string): void {
    for (const sink of this._sinks)
      if (sink._joined && sink.topics.some((topic) => intersects(topic, channel))) sink._end(channel);
  }

  private _expiring(event: Wire): void {
    this._emit("expiring", event);
    if (!this._http._canRenew) return;
    const link = this._link;
    this._http._forget();
    this._http
      ._getToken()
      .then((token) => token && link == this._link && link?._renew?.(token))
      .catch(this._warn);
  }

  /** Key of the transport that worked, where the first one did not. */
  private get _key(): string {
    return `pushd ${this._http.base}`;
  }

  private _isNeeded(): boolean {
    return this._sinks.size + this._entries.size > 0;
  }

  private _start(): void {
    if (this._state == "idle") void this._run();
  }

  private async _run(): Promise<void> {
    this._ticked = Date.now();
    this._ticker = setInterval(() => this._tick(), TICK_MS);
    while (this._isNeeded()) {
      const fault = await this._connectOnce();
      if (!this._restarts && isRefusal(fault.error)) await this._findRefused();
      if (!this._restarts && this._isNeeded()) await this._pause(fault);
    }
    clearInterval(this._ticker);
    this._set("idle");
  }

  private async _connectOnce(): Promise<Fault> {
    this._restarts = false;
    this._replays = 0;
    this._transport = this._names[this._at];
    this._set("connecting");
    const began = Date.now();
    let fault: Fault = {};
    let stalled: boolean | undefined;
    try {
      const token = await this._http._getToken();
      if (!this._isNeeded()) return fault;
      if (this._transport != "longpoll")
        this._starting = setTimeout(() => {
          stalled = true;
          this._link?._close();
        }, START_MS);
      fault = await TRANSPORTS[this._transport](this, token);
      if (fault._auth) this._http._forget();
    } catch (error) {
      fault =
        error instanceof PushdError
          ? { error, _answered: true, _auth: error.status == 401, _wait: error.retryAfter }
          : { error };
    }
    clearTimeout(this._starting);
    this._link?._close();
    fault._stalled ||= stalled;
    this._link = this._connection = undefined;
    for (const sink of this._sinks) sink._joined = false;
    if (this._state == "open") {
      if (Date.now() - began > 10_000) this._attempt = 0;
    } else if (!fault._auth) {
      if (!fault._answered && !this._restarts) this._choose(fault);
    } else if (!this._http._canRenew)
      for (const sink of this._sinks) this._fail(sink, (fault.error as PushdError) ?? new PushdError("token-invalid", ""));
    return fault;
  }

  /** Take the next transport if this one does not work. */
  private _choose(fault: Fault): void {
    if (++this._failures < 2 && !fault._stalled) return;
    this._failures = 0;
    this._at = (this._at + 1) % this._names.length;
  }

  /** Wait before the next attempt: a random time (full jitter), and at least as long as the daemon asks for. */
  private async _pause({ _wait: wait = 0, _spread: spread = 0, _auth: auth, error }: Fault): Promise<void> {
    if (error) this._warn(error);
    const limit = Math.max(spread, mostSeconds(this._options, this._attempt++, auth ? 300 : 30));
    const least = Date.now() + wait * 1000;
    this._set("waiting");
    await pause(wait + Math.random() * limit, (wake) => {
      this._wake = () => {
        if (this._state == "closed") wake();
        else if (Date.now() >= least) setTimeout(wake, Math.random() * 1000 * mostSeconds(this._options, 0));
      };
    });
    this._wake = undefined;
  }

  readonly _warn = (error: unknown): void => this._emit("error", { error });

  private _tick(): void {
    const now = Date.now();
    const jumped = Math.abs(now - this._ticked) > 4 * TICK_MS;
    this._ticked = now;
    if (jumped) this._probe();
    else this._link?._check(false);
  }

  private _set(state: State): void {
    if (state == this._state || this._state == "closed") return;
    this._state = state;
    this._emit("state", { state, transport: this._transport });
  }
}

/**
 * One connection for all tabs of a browser that have the same identity.
 *
 * The tab that holds a Web Lock leads: it has the connection, and the subscriptions of the others as proxies. When it is
 * closed, the browser grants the lock to the next one. When it hangs, another tab steals the lock. Each tab keeps its own
 * cursors and subscribes with them at a new leader, so nothing is lost or received twice.
 */

import { PushdError, type Carrier } from "./client.js";
import type { Engine, Entry, Sink, State, TransportName } from "./engine.js";
import { ignore, isAfter, unique, type Gap, type Message, type Wire } from "./wire.js";

/** Milliseconds between checks of the leader, and the checks without an answer after which it is replaced. */
const CHECK_MS = 1500;
const MOST_MISSED = 3;
/** Checks of the leader that another tab leaves without an answer before its subscriptions are dropped: it is frozen. */
const MOST_SILENT = 6;

const MESSAGE = 0;
const GAP = 1;
const END = 2;
const FAIL = 3;
const MOVED = 4;

/** The key of a subscription at the leader, what has happened to it, and with which value. */
type Item = [key: string, kind: number, value: any, cursor?: string];

/** A tab, as the leader sees it. */
interface Peer {
  readonly _tab: string;
  readonly _proxies: Map<string, Proxy>;
  /** Only this tab receives by it: what waits for a frozen tab is no more than what was sent before it was dropped. */
  readonly _port: BroadcastChannel;
  _items: Item[];
  _silent: number;
}

/** Return the carrier of a client: a connection that it shares with other tabs or, without Web Locks, its own. */
export const share = async (engine: Engine): Promise<Carrier> => {
  try {
    const name = await identityOf(engine);
    const id = unique();
    const closed = new AbortController();
    // Held as long as the tab exists: when the leader gets it, the tab is gone.
    await new Promise<void>((resolve, reject) =>
      navigator.locks
        .request(id, () => {
          resolve();
          return new Promise<void>((release) => closed.signal.addEventListener("abort", () => release()));
        })
        .catch(reject),
    );
    return new Tab(engine, name, id, closed);
  } catch {
    return engine;
  }
};

/** Return a name that tabs with equal rights at one daemon have in common. */
const identityOf = async ({ _http: http }: Engine): Promise<string> => {
  let text = (await http._getToken()) ?? "";
  try {
    // Renewed tokens differ in these claims.
    const { exp, iat, nbf, jti, ...claims } = JSON.parse(atob(text.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    text = JSON.stringify(claims);
  } catch {
    // not a JSON Web Token
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${http.base} ${text}`));
  return "pushd " + btoa(String.fromCharCode(...new Uint8Array(digest)));
};

/** A subscription of another tab, at the leader. */
class Proxy implements Sink {
  _cursor?: string;
  _joined?: boolean;
  _gaps = "";
  constructor(
    readonly key: string,
    readonly topics: string[],
    readonly since: string | undefined,
    readonly slow: string | undefined,
    cursor: string | undefined,
    private readonly _tab: Tab,
    readonly _peer: Peer,
  ) {
    this._cursor = cursor;
  }

  _message(message: Message): void {
    this._tab._forward(this, MESSAGE, message);
  }
  _gap(gap: Gap): void {
    this._tab._forward(this, GAP, gap);
  }
  _end(channel: string): void {
    this._tab._forward(this, END, channel);
  }
  _fail({ code, message, status }: PushdError): void {
    this._tab._forward(this, FAIL, { code, message, status });
  }
  _moved(): void {
    this._tab._forward(this, MOVED, 0);
  }
}

class Tab implements Carrier {
  _state: State = "connecting";
  _transport?: TransportName;
  _connection?: string;
  private readonly _channel: BroadcastChannel;
  private readonly _own: BroadcastChannel;
  /** The subscriptions of this tab, and their keys at the leader. */
  private readonly _sinks = new Map<Sink, string>();
  private readonly _entered = new Map<string, Entry>();
  /** The leadership that this tab follows; `_term` while it leads. */
  private _leader?: string;
  private _term?: string;
  private _missed = 0;
  private _joins = 0;
  private _resign?: () => void;
  /** The other tabs, while this one leads. */
  private _peers = new Map<string, Peer>();
  /** For each channel the tabs that have entered it. */
  private _members = new Map<string, Set<string>>();
  private _waiting?: AbortController;
  private readonly _checks: ReturnType<typeof setInterval>;

  constructor(
    private readonly _engine: Engine,
    private readonly _name: string,
    private readonly _id: string,
    private readonly _closed: AbortController,
  ) {
    this._channel = new BroadcastChannel(_name);
    this._own = new BroadcastChannel(_id);
    this._channel.onmessage = this._own.onmessage = ({ data }) => this._receive(data);
    _engine._isShared = () => this._peers.size > 0;
    const emit = _engine._emit;
    _engine._emit = (type, detail) => {
      if (type == "state") this._announce();
      else emit(type, detail);
      if (type == "error") detail = { error: { ...detail.error, message: `${detail.error.message}` } };
      if (this._term && type != "state") this._send({ type, detail });
    };
    this._emit = emit;
    void this._queue(false);
    this._send({ ping: 1 });
    this._checks = setInterval(() => this._check(), CHECK_MS);
    addEventListener("freeze", () => this._resign?.(), { capture: true, signal: this._closed.signal });
  }

  private readonly _emit: Engine["_emit"];

  _add(sink: Sink): void {
    if (this._term) {
      this._sinks.set(sink, "");
      this._engine._add(sink);
      return;
    }
    const key = unique();
    this._sinks.set(sink, key);
    sink._joined = true;
    const { topics, since, slow, _cursor: cursor } = sink;
    if (this._leader) this._send({ tab: this._id, key, topics, since, slow, cursor });
  }

  _remove(sink: Sink): void {
    const key = this._sinks.get(sink);
    this._sinks.delete(sink);
    if (this._term) this._engine._remove(sink);
    else this._send({ tab: this._id, removed: key });
  }

  _rejoin(sink: Sink): void {
    if (this._term) this._engine._rejoin(sink);
    else if (this._sinks.has(sink)) {
      this._remove(sink);
      this._add(sink);
    }
  }

  async _enter(channel: string, entry: Entry | undefined): Promise<unknown> {
    if (entry) this._entered.set(channel, entry);
    else this._entered.delete(channel);
    if (this._term) return this._enterFor(this._id, channel, entry);
    this._send({ tab: this._id, channel, entry });
  }

  _probe(): void {
    if (this._term) this._engine._probe();
    else this._send({ ping: 2 });
  }

  _close(): void {
    for (const channel of this._entered.keys()) this._enter(channel, undefined).catch(ignore);
    this._engine._entries.clear();
    for (const sink of [...this._sinks.keys()]) this._remove(sink);
    this._resign?.();
    this._waiting?.abort();
    this._closed.abort();
    clearInterval(this._checks);
    this._channel.close();
    this._own.close();
    this._engine._close();
    this._set("closed", undefined, undefined);
  }

  /** Pass on what has happened to a proxy, together with all else of this turn for its tab. */
  _forward({ key, _cursor: cursor, _peer: peer }: Proxy, kind: number, value: unknown): void {
    if (!peer._items.length)
      queueMicrotask(() => {
        const items = peer._items;
        peer._items = [];
        if (!this._term || this._peers.get(peer._tab) != peer) return;
        // Of positions only the last one of a subscription counts.
        const last = new Map(items.map((item) => [item[0], item]));
        this._send({ items: items.filter((item) => item[1] != MOVED || last.get(item[0]) == item) }, peer._port);
      });
    peer._items.push([key, kind, value, cursor]);
  }

  private _receive(wire: Wire): void {
    if (wire.from) this._follow(wire);
    else if (this._term) this._serve(wire);
  }

  /** Receive what a leader says. */
  private _follow({ from, items, state, transport, connection, type, detail, check, dropped, joins }: Wire): void {
    if (this._term) return;
    this._missed = 0;
    if (from != this._leader || (dropped == this._id && joins == this._joins)) {
      this._leader = from;
      this._join();
    }
    if (check && this._sinks.size) this._send({ tab: this._id, joins: this._joins });
    if (state) this._set(state, transport, connection);
    if (type) this._emit(type, detail);
    if (!items) return;
    const sinks = new Map([...this._sinks].map(([sink, key]) => [key, sink]));
    for (const [key, kind, value, cursor] of items as Item[]) {
      const sink = sinks.get(key);
      if (!sink?._joined || !this._sinks.has(sink)) continue;
      if (kind == GAP) sink._gap(value);
      else if (kind == END) sink._end(value);
      else if (kind == FAIL) {
        this._sinks.delete(sink);
        sink._fail(new PushdError(value.code, value.message, value.status));
      } else if (cursor && isAfter(cursor, sink._cursor)) {
        sink._cursor = cursor;
        if (kind == MESSAGE) sink._message(value);
        else sink._moved();
      } else if (kind == MESSAGE && !value.id) sink._message(value);
      else if (kind == MOVED) sink._moved();
    }
  }

  /** Subscribe all sinks at the present leader. */
  private _join(): void {
    this._joins++;
    for (const sink of this._sinks.keys()) this._add(sink);
    for (const [channel, entry] of this._entered) void this._enter(channel, entry);
  }

  /** Receive what another tab asks of this leader. */
  private _serve({ ping, tab, key, topics, since, slow, cursor, removed, channel, entry, joins }: Wire): void {
    if (ping) this._announce();
    if (ping == 2) this._engine._probe();
    if (!tab) return;
    let peer = this._peers.get(tab);
    if (!peer) {
      if (!key && !channel) return this._send({ dropped: tab, joins });
      this._peers.set(tab, (peer = { _tab: tab, _proxies: new Map(), _port: new BroadcastChannel(tab), _items: [], _silent: 0 }));
      void navigator.locks.request(tab, { signal: this._closed.signal }, () => this._drop(tab)).catch(() => {});
    }
    peer._silent = 0;
    if (channel) void this._enterFor(tab, channel, entry);
    const proxies = peer._proxies;
    if (removed) {
      const proxy = proxies.get(removed);
      proxies.delete(removed);
      if (proxy) this._engine._remove(proxy);
    }
    if (key) {
      const proxy = new Proxy(key, topics, since, slow, cursor, this, peer);
      proxies.set(key, proxy);
      this._engine._add(proxy);
    }
  }

  /** Forget a tab that was closed, or is frozen: that one subscribes again at its next sign. */
  private _drop(tab: string): void {
    const peer = this._peers.get(tab);
    if (!peer) return;
    this._peers.delete(tab);
    for (const proxy of peer._proxies.values()) this._engine._remove(proxy);
    peer._port.close();
    for (const channel of this._members.keys()) void this._enterFor(tab, channel, undefined);
  }

  private async _enterFor(tab: string, channel: string, entry: Entry | undefined): Promise<unknown> {
    let tabs = this._members.get(channel);
    if (!tabs) this._members.set(channel, (tabs = new Set()));
    if (entry) tabs.add(tab);
    else if (!tabs.delete(tab) || tabs.size) return;
    return this._engine._enter(channel, entry);
  }

  /** Wait for the lock, or steal it, and lead while this tab has it; again and again. */
  private async _queue(steal: boolean): Promise<void> {
    this._waiting?.abort();
    const waiting = (this._waiting = new AbortController());
    let term: string | undefined;
    const options: LockOptions = steal ? { steal } : { signal: waiting.signal };
    await navigator.locks
      .request(this._name, options, () => {
        term = this._lead();
        return new Promise<void>((resolve) => (this._resign = resolve));
      })
      .catch(() => {});
    if (term && term == this._term) this._stepDown();
    if (waiting == this._waiting && !this._closed.signal.aborted) void this._queue(false);
  }

  private _lead(): string {
    this._term = this._leader = unique();
    this._members = new Map();
    this._announce();
    for (const sink of this._sinks.keys()) {
      sink._joined = false;
      this._engine._add(sink);
    }
    for (const [channel, entry] of this._entered) void this._enterFor(this._id, channel, entry);
    return this._term;
  }

  /** Give the connection up: another tab leads. */
  private _stepDown(): void {
    this._term = this._leader = this._resign = undefined;
    for (const { _port: port } of this._peers.values()) port.close();
    this._peers = new Map();
    this._engine._release();
    this._send({ ping: 1 });
  }

  private _check(): void {
    if (this._term) return this._watch();
    if (!this._missed++) return;
    this._send({ ping: 1 });
    if (this._missed <= MOST_MISSED) return;
    this._missed = 0;
    void this._queue(true);
  }

  /** Ask the other tabs for a sign, and drop those that have given none for long. */
  private _watch(): void {
    if (!this._peers.size) return;
    this._send({ check: 1 });
    for (const [tab, peer] of this._peers) if (++peer._silent > MOST_SILENT) this._drop(tab);
  }

  private _announce(): void {
    if (!this._term) return;
    const { _state: state, _transport: transport, _connection: connection } = this._engine;
    this._set(state, transport, connection);
    this._send({ state, transport, connection });
  }

  private _set(state: State, transport: TransportName | undefined, connection: string | undefined): void {
    const isNew = state != this._state;
    this._state = state;
    this._transport = transport;
    this._connection = connection;
    if (isNew) this._emit("state", { state, transport });
  }

  private _send(wire: Wire, port = this._channel): void {
    if (!this._closed.signal.aborted) port.postMessage(this._term ? { ...wire, from: this._term } : wire);
  }
}

/** Long polls, for where nothing else passes; and the history of one subscription. */

import type { Engine, Fault, Link, Sink } from "./engine.js";
import { decode, type Gap, type Wire } from "./wire.js";

/** Seconds for which the daemon holds a request, and milliseconds of silence after which a connection is replaced. */
const HOLD = 25;
const SILENCE_MS = 40_000;

/** The link of a transport that consists of requests. */
export interface HttpLink extends Link {
  _heard: number;
  readonly _signal: AbortSignal;
}

/** Make the link of a transport; when something has changed, it is replaced after `probeMs` of silence. */
export const httpLink = (engine: Engine, probeMs: number): HttpLink => {
  const abort = new AbortController();
  const link = {
    _heard: Date.now(),
    _signal: abort.signal,
    _check: (probe: boolean) => Date.now() - link._heard > (probe ? probeMs : SILENCE_MS) && abort.abort(),
    _close: () => abort.abort(),
  };
  return (engine._link = link);
};

/** Poll until the connection fails; return why. */
export const longPoll = async (engine: Engine): Promise<Fault> => {
  const link = httpLink(engine, 2000);
  const [sinks, topics, start] = await prepare(engine, link);
  // The first poll is answered at once.
  for (let since = start, timeout = 0, wires: Wire[], hasEnded: boolean; ; timeout = HOLD) {
    link._heard = Date.now();
    [wires, since, hasEnded] = await poll(engine, topics, since, timeout, link._signal);
    engine._begin(sinks);
    wires.forEach((wire) => engine._receive(wire));
    if (hasEnded) {
      endAll(sinks);
      return {};
    }
  }
};

/** Report the end of all channels. */
export const endAll = (sinks: Sink[]): void => sinks.forEach((sink) => sink.topics.forEach((topic) => sink._end(topic)));

export const topicsOf = (sinks: Iterable<Sink>): string[] => [...new Set([...sinks].flatMap((sink) => sink.topics))];

/** Return what happens when the client is too slow: one choice for the connection. */
export const slowOf = (sinks: Sink[]): string | undefined => sinks.find((sink) => sink.slow)?.slow;

/** Return the sinks of a stream by HTTP, their topics, and the cursor from which none misses anything; wait until there are sinks. */
export const prepare = async (engine: Engine, link: HttpLink): Promise<[Sink[], string[], string]> => {
  const sinks = [...engine._sinks];
  if (!sinks[0]) {
    engine._begin(sinks);
    link._heard = Infinity;
    await new Promise((_, reject) => (link._signal.onabort = reject));
  }
  await Promise.all(sinks.map((sink) => sink._cursor || prefetch(engine, sink, link._signal)));
  return [sinks, topicsOf(sinks), engine._oldest(sinks)];
};

/** Deliver what is stored for a sink that has no cursor yet, and give it one. */
export const prefetch = async (engine: Engine, sink: Sink, signal?: AbortSignal): Promise<void> => {
  const [wires, cursor, hasEnded] = await poll(engine, sink.topics, sink.since, 0, signal);
  // Meanwhile it was closed, or another connection has done the same.
  if (sink._cursor || !engine._sinks.has(sink)) return;
  sink._cursor = cursor;
  for (const wire of wires)
    if (wire.type) sink._gap(wire as Gap);
    else sink._message(decode(wire));
  sink._moved();
  if (hasEnded) endAll([sink]);
};

/** Return the gaps and messages of a poll, the cursor after them, and whether all channels have ended. */
export const poll = async (
  { _http: http }: Engine,
  topics: string[],
  since: string | undefined,
  timeout: number,
  signal?: AbortSignal,
): Promise<[Wire[], string, boolean]> => {
  const answer = await http._send("longpoll/", topics, { since, timeout }, { signal });
  const wires: Wire[] = answer.status == 200 ? await answer.json() : [];
  const header = (name: string) => answer.headers.get(`pushd-${name}`);
  const to = header("cursor");
  // Browsers accept an answer that was cut within its headers.
  if (!to || to != header("id")) throw Error("closed");
  const reason = header("gap");
  const gaps = reason ? topics.map((topic) => ({ type: "gap", topic, from: since, to, reason })) : [];
  return [[...gaps, ...wires], to, !!header("end")];
};

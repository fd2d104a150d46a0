/** Long polls, for where nothing else passes; and the history of one subscription. */

import { type Engine, type Fault, type Sink } from "./engine.js";
import { type Message, decode, type Gap, type Wire } from "./wire.js";

/** Seconds for which the daemon holds a request. */
const HOLD = 25;

/** Poll until the connection fails; return why. */
export const longPoll = async (engine: Engine): Promise<Fault> => {
  const http = engine._http;
  const abort = new AbortController();
  let began = Date.now();
  engine._link = {
    _check: (probe) => Date.now() - began > (probe ? 2000 : (HOLD + 15) * 1000) && abort.abort(),
    _close: () => abort.abort(),
  };
  const signal = abort.signal;
  await Promise.all([...engine._sinks].map((sink) => sink._cursor || prefetch(engine, sink, signal)));
  const sinks = [...engine._sinks].filter((sink) => sink._cursor);
  if (!sinks.length) return {};
  engine._begin(sinks, undefined, undefined);
  const topics = [...new Set(sinks.flatMap((sink) => sink.topics))];
  try {
    for (let since = engine._oldest(sinks); !signal.aborted; ) {
      began = Date.now();
      const answer = await http._send(http._url("longpoll", topics, { since, timeout: HOLD }), { signal });
      const wires: Wire[] = answer.status == 200 ? await answer.json() : [];
      const cursor = answer.headers.get("pushd-cursor") ?? since;
      const reason = answer.headers.get("pushd-gap");
      if (reason) for (const topic of topics) engine._receive({ type: "gap", topic, from: since, to: cursor, reason });
      wires.forEach((wire) => engine._receive(wire));
      since = cursor;
      if (answer.headers.get("pushd-end")) {
        for (const sink of sinks) sink.topics.forEach((topic) => sink._end(topic));
        return {};
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return {};
};

/** Deliver what is stored for a sink that has no cursor yet, and give it one. */
export const prefetch = async (engine: Engine, sink: Sink, signal?: AbortSignal): Promise<void> => {
  const http = engine._http;
  const { since } = sink;
  const answer = await http._send(http._url("longpoll", sink.topics, { since, timeout: 0 }), { signal });
  const wires: Wire[] = answer.status == 200 ? await answer.json() : [];
  const cursor = answer.headers.get("pushd-cursor")!;
  const reason = answer.headers.get("pushd-gap");
  for (const topic of reason ? sink.topics : [])
    sink._gap({ type: "gap", topic, from: since ?? cursor, to: cursor, reason } as Gap);
  for (const wire of wires) sink._message(decode(wire) as Message);
  sink._cursor = cursor;
  sink._moved();
};

/** Server-sent events, read by fetch: so they can have headers, and every byte of the keepalive is seen. */

import { START_MS, type Engine, type Fault } from "./engine.js";
import { prefetch } from "./longpoll.js";

/** The daemon sends a comment every 15 seconds. */
const SILENCE_MS = 40_000;
const PROBE_MS = 20_000;

/** Connect; return why the connection has ended. */
export const eventStream = async (engine: Engine): Promise<Fault> => {
  const http = engine._http;
  const abort = new AbortController();
  const fault: Fault = {};
  let heard = Date.now();
  let begun = false;
  let ended = false;
  let connection: string | undefined;
  engine._link = {
    _renew: (token) =>
      void http
        ._send(http._url(`connections/${connection}/auth`), { method: "POST", headers: { authorization: `Bearer ${token}` } })
        .catch(() => abort.abort()),
    _check: (probe) => Date.now() - heard > (probe ? PROBE_MS : SILENCE_MS) && abort.abort(),
    _close: () => abort.abort(),
  };
  const timer = setTimeout(() => {
    fault.stalled = true;
    abort.abort();
  }, START_MS);

  const line = (text: string): void => {
    const [, field, value] = /^(data|retry): ?(.*)/.exec(text) ?? [];
    if (field == "retry") fault[begun ? "wait" : "spread"] = +value / 1000;
    if (field != "data") return;
    const wire = JSON.parse(value);
    if (wire.type == "begin") {
      begun = true;
      clearTimeout(timer);
      connection = wire.connection;
      engine._begin(sinks, wire.cursor, connection);
    } else if (wire.type == "expired") {
      fault.auth = ended = true;
    } else engine._receive(wire);
  };

  await Promise.all([...engine._sinks].map((sink) => sink._cursor || prefetch(engine, sink, abort.signal)));
  const sinks = [...engine._sinks].filter((sink) => sink._cursor);
  try {
    if (!sinks.length) return fault;
    const query = {
      format: "json",
      since: engine._oldest(sinks),
      slow: sinks.find((sink) => sink.slow)?.slow,
    };
    const topics = [...new Set(sinks.flatMap((sink) => sink.topics))];
    const answer = await http._send(http._url("sse", topics, query), {
      signal: abort.signal,
      headers: { accept: "text/event-stream" },
    });
    if (answer.status == 204) {
      for (const sink of sinks) sink.topics.forEach((topic) => sink._end(topic));
      return fault;
    }
    const reader = answer.body!.getReader();
    const decoder = new TextDecoder();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      heard = Date.now();
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop()!;
      lines.forEach(line);
    }
  } catch (error) {
    if (!begun && !abort.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  if (ended) fault.wait = 0;
  return fault;
};

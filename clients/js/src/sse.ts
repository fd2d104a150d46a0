/** Server-sent events, read by fetch: so they can have headers, and every byte of the keepalive is seen. */

import { START_MS, type Engine, type Fault, type Sink } from "./engine.js";
import { endAll, prepare, slowOf } from "./longpoll.js";

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
  let retry = 0;
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
    if (field == "retry") retry = +value / 1000;
    if (field != "data") return;
    const wire = JSON.parse(value);
    if (wire.type == "begin") {
      begun = true;
      fault.spread = Math.min(retry, engine._options.maxDelay ?? retry);
      retry = 0;
      clearTimeout(timer);
      connection = wire.connection;
      engine._begin(sinks, wire.cursor, connection);
    } else if (wire.type == "expired") fault.auth = true;
    else engine._receive(wire);
  };

  let sinks: Sink[] = [];
  try {
    const [all, topics, since] = await prepare(engine, abort.signal);
    sinks = all;
    if (!sinks.length) return fault;
    const query = { format: "json", since, slow: slowOf(sinks) };
    const answer = await http._send(http._url("sse", topics, query), { signal: abort.signal });
    if (answer.status == 204) endAll(sinks);
    else {
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
    }
    fault.answered = true;
  } catch (error) {
    fault.error = error;
    if (!begun && !abort.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  // An expired token is replaced at once.
  return fault.auth ? { auth: true } : { ...fault, wait: retry };
};

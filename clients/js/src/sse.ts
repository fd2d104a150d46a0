/** Server-sent events, read by fetch: so they can have headers, and every byte of the keepalive is seen. */

import type { Engine, Fault } from "./engine.js";
import { endAll, httpLink, prepare, slowOf } from "./longpoll.js";

/** The daemon sends a comment every 15 seconds. */
const PROBE_MS = 20_000;

/** Connect; return why the connection has ended. */
export const eventStream = async (engine: Engine): Promise<Fault> => {
  const http = engine._http;
  const link = httpLink(engine, PROBE_MS);
  const fault: Fault = { _wait: 0 };
  let connection: string | undefined;
  link._renew = () => void http._send(`connections/${connection}/auth`, [], {}, { method: "POST" }).catch(link._close);
  const [sinks, topics, since] = await prepare(engine, link);

  const line = (text: string): void => {
    const [, field, value] = /^(data|retry): ?(.*)/.exec(text) ?? [];
    if (field == "retry") fault._wait = +value / 1000;
    if (field != "data") return;
    const wire = JSON.parse(value);
    if (wire.type == "begin") {
      fault._spread = Math.min(fault._wait!, engine._options.maxDelay ?? fault._wait!);
      fault._wait = 0;
      connection = wire.connection;
      engine._begin(sinks, wire.cursor, connection);
    } else if (wire.type == "expired") fault._auth = true;
    else engine._receive(wire);
  };

  const query = { format: "json", since, slow: slowOf(sinks) };
  const answer = await http._send("sse/", topics, query, { signal: link._signal });
  try {
    if (answer.status == 204) endAll(sinks);
    else {
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        link._heard = Date.now();
        const lines = (rest + value).split("\n");
        rest = lines.pop()!;
        lines.forEach(line);
      }
    }
    fault._answered = true;
  } catch (error) {
    if (!connection) throw error;
    fault.error = error;
  }
  // An expired token is replaced at once.
  return fault._auth ? { _auth: true } : fault;
};

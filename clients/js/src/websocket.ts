/** WebSocket with the subprotocol `pushd.v1`. */

import { START_MS, type Engine, type Entry, type Fault, type Link, type Sink } from "./engine.js";
import { prefetch } from "./longpoll.js";
import { PushdError, intersects, type Wire } from "./wire.js";

type Reply = (reply: Wire) => void;

/** Milliseconds of silence after which the connection is checked, and in which a check has to be answered. */
const SILENCE_MS = 25_000;
const PONG_MS = 10_000;

const TEMPORARY = /^(too-many|rate-limited|unavailable|storage|overloaded|stopping|no-room|token-)/;

/** Connect; return why the connection has ended. */
export const webSocket = (engine: Engine, token: string | undefined): Promise<Fault> =>
  new Promise((resolve) => {
    const Socket = engine._options.WebSocket ?? WebSocket;
    const protocols = ["pushd.v1"];
    if (token) protocols.push(`bearer.${token}`);
    const socket = new Socket(engine._http._url("ws").replace(/^http/, "ws"), protocols);
    const replies = new Map<number, Reply>();
    let refs = 0;
    let heard = Date.now();
    let asked = 0;
    let timer = setTimeout(() => finish({ stalled: true }), START_MS);

    const finish = (fault: Fault): void => {
      clearTimeout(timer);
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      if (socket.readyState < 2) socket.close();
      for (const reply of replies.values()) reply({ error: { code: "closed", message: "the connection was closed" } });
      resolve(fault);
    };

    const send = (command: Wire, reply: Reply): void => {
      replies.set(++refs, reply);
      socket.send(JSON.stringify({ ...command, ref: refs }));
    };

    /** Subscribe sinks, with the topics of others that receive the replay once more. */
    const subscribe = (sinks: Sink[], topics: string[], since: string | undefined): void => {
      engine._replays++;
      const slow = sinks.find((sink) => sink.slow)?.slow;
      send({ subscribe: [...new Set(topics)].join(), since, slow }, ({ error, cursor, connection }) => {
        clearTimeout(timer);
        if (!error) engine._begin(sinks, cursor, connection);
        else if (error.code == "closed") return;
        else if (TEMPORARY.test(error.code)) finish({ wait: 1, error: toError(error) });
        else if (sinks.length > 1) finish({ refused: toError(error), wait: 0 });
        else engine._fail(sinks[0], toError(error));
      });
      // Answered when the replay is complete.
      send({ ping: 0 }, () => engine._replays--);
    };

    const add = (sink: Sink): void => {
      const from = sink._cursor ?? sink.since;
      const others = [...engine._sinks].filter(
        (other) => from && other._joined && other.topics.some((a) => sink.topics.some((b) => intersects(a, b))),
      );
      if (sink._cursor || !others.length)
        subscribe([sink], [sink, ...others].flatMap((each) => each.topics), from);
      else
        // What others have received already is not replayed for a second topic.
        prefetch(engine, sink).then(
          () => link == engine._link && engine._sinks.has(sink) && add(sink),
          (error) => (error instanceof PushdError ? engine._fail(sink, error) : finish({ error })),
        );
    };

    const enter = (channel: string, entry: Entry | undefined): Promise<Wire> =>
      new Promise((done, fail) =>
        send(entry ? { enter: channel, ...entry } : { leave: channel }, (reply) =>
          reply.error ? fail(toError(reply.error)) : done(reply),
        ),
      );

    const link: Link = {
      _add: add,
      _remove: (topics) => send({ unsubscribe: topics.join() }, () => {}),
      _renew: (fresh) => send({ auth: fresh }, ({ error }) => error && finish({ auth: true, error: toError(error) })),
      _enter: enter,
      _check: (probe) => {
        const now = Date.now();
        if (socket.readyState != 1) return;
        if (asked > heard && now - asked > PONG_MS) return finish({});
        if (asked <= heard && (probe || now - heard > SILENCE_MS)) {
          asked = now + 1;
          send({ ping: 0 }, () => {});
          if (probe) setTimeout(() => asked > heard && finish({}), PONG_MS / 2);
        }
      },
      _close: () => finish({}),
    };
    engine._link = link;

    socket.onopen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => finish({ stalled: true }), START_MS);
      const sinks = [...engine._sinks];
      const known = sinks.filter((sink) => sink._cursor);
      if (known.length) subscribe(known, known.flatMap((sink) => sink.topics), engine._oldest(known));
      sinks.filter((sink) => !sink._cursor).forEach(add);
      for (const [channel, entry] of engine._entries)
        enter(channel, entry).catch((error) => engine._emit("error", { error }));
      if (!sinks.length) engine._begin([], undefined, undefined);
    };
    socket.onmessage = ({ data }) => {
      heard = Date.now() + 1;
      const wire = JSON.parse(data);
      const reply = replies.get(wire.ref);
      replies.delete(wire.ref);
      if (reply) reply(wire);
      else if (wire.error) finish({ refused: toError(wire.error) });
      else engine._receive(wire);
    };
    socket.onclose = ({ code, reason }) =>
      finish({
        auth: code == 4401,
        refused: code == 4403 ? new PushdError("forbidden", reason, 403) : undefined,
        wait: code == 1013 || code == 4429 ? 1 : 0,
        spread: code == 1012 ? 5 : 0,
        error: reason && code > 1001 && code != 1012 ? new PushdError(`${code}`, reason, code == 4401 ? 401 : 0) : undefined,
      });
  });

const toError = ({ code, message }: Wire) => new PushdError(code, message);

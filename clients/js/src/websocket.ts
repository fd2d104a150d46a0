/** WebSocket with the subprotocol `pushd.v1`. */

import { type Engine, type Fault, type Link, type Sink } from "./engine.js";
import { prefetch, slowOf, topicsOf } from "./longpoll.js";
import { PushdError, ignore, intersects, isPattern, isTemporary, type Wire } from "./wire.js";

type Reply = (reply: Wire) => void;

/** Milliseconds of silence after which the connection is checked, and in which a check has to be answered. */
const SILENCE_MS = 25_000;
const PONG_MS = 10_000;

/** Connect; return why the connection has ended. */
export const webSocket = (engine: Engine, token?: string | null): Promise<Fault> =>
  new Promise((resolve) => {
    const Socket = engine._options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) return resolve({ _stalled: true });
    const protocols = ["pushd.v1"];
    if (token) protocols.push(`bearer.${token}`);
    const socket = new Socket(engine._http._url("ws").replace(/^http/, "ws"), protocols);
    const replies = new Map<number, Reply>();
    /** Sinks whose subscription was sent, and not refused. */
    const subscribed = new Set<Sink>();
    let isDone = false;
    let refs = 0;
    let heard = Date.now();
    let asked = 0;

    const finish = (fault: Fault): void => {
      if (isDone) return;
      isDone = true;
      socket.close();
      resolve(fault);
      for (const reply of replies.values()) reply({ error: new PushdError("closed", "closed") });
    };

    /** Send a command; without an open connection it counts as done, since the next one begins with everything. */
    const send = (command: Wire, reply: Reply = ignore): void => {
      if (socket.readyState != 1) return reply({});
      replies.set(++refs, reply);
      socket.send(JSON.stringify({ ...command, ref: refs }));
    };

    /** Return the subscribed sinks that have channels in common with these, and receive their replay, too. */
    const overlapping = (sinks: Sink[]): Sink[] => {
      const topics = topicsOf(sinks.filter((sink) => sink._cursor ?? sink.since));
      const names = new Set(topics);
      const patterns = topics.filter(isPattern);
      return [...subscribed].filter(
        (other) =>
          engine._sinks.has(other) &&
          // There may be thousands of each.
          other.topics.some((a) => names.has(a) || (isPattern(a) ? topics : patterns).some((b) => intersects(a, b))),
      );
    };

    /** Subscribe sinks; if the daemon refuses that, or so many topics, one half of them after the other. */
    const subscribe = (all: Sink[], next = ignore): void => {
      const sinks = all.filter((sink) => engine._sinks.has(sink));
      if (!sinks[0]) return next();
      const others = overlapping(sinks);
      const since = sinks[0]._cursor ? engine._oldest(sinks) : sinks[0].since;
      sinks.forEach((sink) => subscribed.add(sink));
      engine._replays++;
      send({ subscribe: `${topicsOf([...sinks, ...others])}`, since, slow: slowOf(sinks) }, ({ error, cursor, connection }) => {
        if (isDone) return;
        if (error) {
          // Where others are subscribed, it is this one that exceeds the limit.
          if (isTemporary(error) && (!/subs/.test(error.code) || subscribed.size == sinks.length)) return finish({ error });
          sinks.forEach((sink) => subscribed.delete(sink));
          const half = sinks.splice(0, sinks.length / 2);
          // One of the others was refused meanwhile, or it is this one.
          if (half[0] || overlapping(sinks).length < others.length) return subscribe(half, () => subscribe(sinks, next));
          engine._fail(sinks[0], error);
        } else engine._begin(sinks, cursor, connection);
        next();
      });
      // Answered when the replay is complete.
      send({ ping: 0 }, () => engine._replays--);
    };

    const add = (sink: Sink): void => {
      if (sink._cursor || !overlapping([sink]).length) subscribe([sink]);
      else
        // What others have received already is not replayed for a second topic.
        prefetch(engine, sink).then(
          () => isDone || add(sink),
          (error) => (isTemporary(error) ? finish({ error }) : engine._fail(sink, error)),
        );
    };

    const link: Link = {
      _add: (sink) => socket.readyState == 1 && add(sink),
      _remove: (topics) => send({ unsubscribe: `${topics}` }),
      _renew: (fresh) => send({ auth: fresh }, ({ error }) => error && finish({ _auth: true, error })),
      _enter: (channel, entry) =>
        new Promise((done, fail) =>
          send(entry ? { enter: channel, ...entry } : { leave: channel }, (reply) => (reply.error ? fail(reply.error) : done(reply))),
        ),
      _check: (probe) => {
        const now = Date.now();
        if (asked > heard) return now - asked > PONG_MS && finish({});
        if (probe || now - heard > SILENCE_MS) {
          asked = now + 1;
          send({ ping: 0 });
          if (probe) setTimeout(() => asked > heard && finish({}), PONG_MS / 2);
        }
      },
      _close: () => finish({}),
    };
    engine._link = link;
    // A `close` follows.
    socket.onerror = ignore;

    socket.onopen = () => {
      const sinks = [...engine._sinks];
      subscribe(sinks.filter((sink) => sink._cursor));
      sinks.forEach((sink) => sink._cursor || add(sink));
      for (const [channel, entry] of engine._entries) link._enter!(channel, entry).catch(engine._warn);
      if (!sinks[0]) engine._begin(sinks);
    };
    socket.onmessage = ({ data }) => {
      if (isDone) return;
      heard = Date.now() + 1;
      const wire = JSON.parse(data);
      const reply = replies.get(wire.ref);
      replies.delete(wire.ref);
      if (wire.error) wire.error = new PushdError(wire.error.code, wire.error.message);
      if (reply) reply(wire);
      else if (wire.error) finish(wire);
      else engine._receive(wire);
    };
    socket.onclose = ({ code, reason }) =>
      finish({
        _auth: code == 4401,
        _wait: +(code == 1013 || code == 4429),
        _spread: code == 1012 ? 5 : 0,
        error:
          reason && code != 1012
            ? new PushdError(code == 4403 ? "forbidden" : `${code}`, reason, Math.max(0, code - 4000))
            : undefined,
      });
  });

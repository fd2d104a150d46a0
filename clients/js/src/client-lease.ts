/**
 * Presence without a WebSocket: a lease for each channel that was entered, renewed until it is left.
 *
 * Loaded when it is needed.
 */

import type { Engine, Entry } from "./engine.js";
import { ignore, isRefusal, unique, type PushdError } from "./wire.js";

/** Milliseconds between renewals; the daemon keeps a lease for 30 seconds. */
const RENEW_MS = 10_000;

/** Return a function that enters a channel of an engine by a lease, or leaves it, or without one renews all leases. */
export const lease = (engine: Engine): ((channel?: string) => Promise<unknown>) => {
  const { _http: http, _entries: entries } = engine;
  /** The entries for which there is a lease. */
  const held = new Map<string, Entry>();
  /** Id as a member where the credential has no subject. */
  let own: string | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;
  let last: Promise<unknown> = Promise.resolve();

  const send = async (method: string, channel: string, { id = own, meta }: Entry): Promise<unknown> => {
    const init = { method, body: JSON.stringify(meta), keepalive: true };
    try {
      return await (await http._send("presence/", [channel], { presence_id: id, presence: !id && "self" }, init)).json();
    } catch (error) {
      if (id || (error as PushdError).status != 400) throw error;
      own ??= unique();
      return send(method, channel, { id: own, meta });
    }
  };

  const leave = async (channel: string): Promise<unknown> => {
    const entry = held.get(channel);
    held.delete(channel);
    return entry && send("DELETE", channel, entry);
  };

  const update = async (channel: string): Promise<unknown> => {
    const entry = entries.get(channel);
    if (!entry || engine._link?._enter) return leave(channel);
    held.set(channel, entry);
    try {
      return await send("PUT", channel, entry);
    } catch (error) {
      // It is tried again with the next connection, or when the page enters again.
      if (isRefusal(error)) held.delete(channel);
      throw error;
    }
  };

  /** Run updates one after the other: a lease that is left while it is renewed ends. */
  const queue = (channel: string): Promise<unknown> => (last = last.catch(ignore).then(() => update(channel)));

  const renew = (): void => {
    for (const channel of held.keys()) if (entries.has(channel)) queue(channel).catch(engine._warn);
  };

  const hide = ({ persisted }: PageTransitionEvent): void => {
    if (persisted || engine._isShared?.()) return;
    for (const channel of entries.keys()) leave(channel).catch(ignore);
  };

  globalThis.addEventListener?.("pagehide", hide);
  const emit = engine._emit;
  engine._emit = (type, detail) => {
    const { state } = detail;
    if (type == "state" && (state == "closed" || state == "idle")) {
      if (state == "closed") {
        // When these are updated, there are no entries any more.
        for (const channel of entries.keys()) queue(channel).catch(ignore);
        globalThis.removeEventListener?.("pagehide", hide);
      }
      clearInterval(timer);
      timer = undefined;
    }
    emit(type, detail);
  };

  return async (channel) => {
    if (entries.size) timer ??= setInterval(renew, RENEW_MS);
    if (channel) return queue(channel);
    for (const name of entries.keys()) queue(name).catch(engine._warn);
  };
};

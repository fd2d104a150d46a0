/** What the daemon sends: messages and control objects (docs/protocol.md, "The message as JSON"). */

export interface Message<T = any> {
  /** `EPOCH-SEQ`, a cursor; absent from ephemeral messages. */
  id?: string;
  /** Id of the previous message in the channel. */
  prev?: string | null;
  channel: string;
  /** Unix seconds. */
  time: number;
  event?: string;
  content_type: string;
  /** A JSON value, a string, or bytes (`Uint8Array`) if the message is binary. */
  data: T;
  /** Subject of the publisher, where it was authenticated. */
  from?: string;
  /** Channel for the reply to a request. */
  reply_to?: string;
  kept?: false;
}

export interface Gap {
  type: "gap";
  topic: string;
  from: string;
  to: string;
  reason: string;
}

/** Any object on the wire; control objects have a `type`. */
export type Wire = Record<string, any>;

/** A refusal by the daemon: docs/protocol.md lists the codes. */
export class PushdError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    /** Seconds after which to try again, if the daemon named them. */
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "PushdError";
  }
}

/** Return whether another attempt may succeed without a change: faults of the network, of load, or of a server. */
export const isTemporary = (error: unknown): boolean =>
  !(error instanceof PushdError) ||
  ((error.status >= 500 || error.status == 429 || error.status == 408) &&
    !/^(outcome-unknown|no-re)/.test(error.code));

/** Return the bytes of base64. */
const bytes = (base64: string) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

/** Return a message with its binary data decoded. */
export const decode = (wire: Wire): Message => {
  if (wire.data_base64 != null) {
    wire.data = bytes(wire.data_base64);
    delete wire.data_base64;
  }
  return wire as Message;
};

/** Return whether `id` is after `cursor`. Ids of different epochs have no order: they count as new. */
export const isAfter = (id: string, cursor: string | undefined): boolean => {
  if (!cursor) return true;
  const [epoch, seq] = split(id);
  const [other, least] = split(cursor);
  return epoch != other || seq > least;
};

const split = (id: string): [string, number] => {
  const at = id.lastIndexOf("-");
  return [id.slice(0, at), +id.slice(at + 1)];
};

/** Return the cursor of several from which nothing is missed: the oldest, or one of an epoch that is over. */
export const oldest = (cursors: string[], epochOf: string | undefined): string =>
  cursors.reduce((a, b) => (isPast(b, epochOf) || (!isPast(a, epochOf) && isAfter(a, b)) ? b : a));

const isPast = (cursor: string, newest: string | undefined) => !!newest && split(cursor)[0] != split(newest)[0];

/** Return whether a topic (a channel or a pattern) matches a channel. */
export const matches = (topic: string, channel: string): boolean => intersects(topic, channel);

/** Return whether some channel is matched by both topics. */
export const intersects = (a: string, b: string): boolean => {
  const left = a.split("/");
  const right = b.split("/");
  for (let i = 0; ; i++) {
    const x = left[i];
    const y = right[i];
    if (x == null || y == null) return x == y;
    if (!i && ((isWild(x) && y[0] == "$") || (isWild(y) && x[0] == "$"))) return false;
    if (x == "**" || y == "**") return true;
    if (x != y && x != "*" && y != "*") return false;
  }
};

const isWild = (segment: string) => segment == "*" || segment == "**";

/** Return topics as they stand in an address. */
export const inPath = (topics: string[]): string =>
  topics.map((topic) => topic.split("/").map(encodeURIComponent).join("/")).join(",");

/** Return a random string of 128 bits. */
export const random = (): string =>
  Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("");

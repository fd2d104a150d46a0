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
  }
}

/** Return whether another attempt may succeed without a change: faults of the network, of load, or of a server. */
export const isTemporary = (error: unknown): boolean =>
  !(error instanceof PushdError) ||
  /^(\d|too-many-[^t]|rate|unav|sto|over|no-ro|request-t|int|http-(408|429|5))/.test(error.code);

/** Return whether an error is a refusal of what was asked for, whoever asks. */
export const isRefusal = (error: unknown): error is PushdError => !isTemporary(error) && (error as PushdError).status != 401;

/** Return a message with its binary data decoded. */
export const decode = (wire: Wire): Message => {
  if (wire.data_base64 != null) wire.data = Uint8Array.from(atob(wire.data_base64), (c) => c.charCodeAt(0));
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
export const oldest = (cursors: string[], newest = ""): string =>
  cursors.reduce((a, b) => (split(b)[0] == split(newest)[0] && (split(a)[0] != split(b)[0] || isAfter(b, a)) ? a : b));

export const isPattern = (topic: string): boolean => topic.includes("*");

/** Return whether some channel is matched by both topics, each a channel or a pattern. */
export const intersects = (a: string, b: string): boolean => {
  const left = a.split("/");
  const right = b.split("/");
  for (let i = 0; ; i++) {
    const x = left[i];
    const y = right[i];
    if (x == null || y == null) return x == y;
    // No wildcard in the first segment matches a name that begins with `$`.
    if (!i && "*$*".includes(x[0] + y[0])) return false;
    if (x == "**" || y == "**") return true;
    if (x != y && x != "*" && y != "*") return false;
  }
};

/** Return topics as they stand in an address. */
export const inPath = (topics: string[]): string =>
  topics.map((topic) => topic.split("/").map(encodeURIComponent).join("/")).join(",");

export const ignore = () => {};

/** Wait for some seconds at most; pass on a function that ends it. */
export const pause = (seconds: number, use: (wake: () => void) => void): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    use(() => {
      clearTimeout(timer);
      resolve();
    });
  });

/** Return a string that no other publish has. */
export const unique = (): string => Date.now() + "-" + Math.random();

/** Read or set an item of a storage, which may be missing, full or forbidden. */
export const stored = (area: "localStorage" | "sessionStorage", key: string, value?: string): string | null | void => {
  try {
    const storage = globalThis[area];
    return value ? storage.setItem(key, value) : storage.getItem(key);
  } catch {
    // without it
  }
};

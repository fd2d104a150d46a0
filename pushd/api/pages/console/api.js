// Requests to the daemon. The token is in this module's memory only, and in no address.

const BASE = new URL("..", import.meta.url);
const SHORTEST_PAUSE = 2000;
/** A poll pauses for so many times as long as the daemon took to answer, so that it uses at most 2 % of its time. */
const PAUSES_PER_DURATION = 50;

let token = null;
let askForToken = () => Promise.resolve(null);
const listeners = new Set();
/** The duration of the fastest request, which is that of the network, and what the others have taken beyond it. */
let fastest = Infinity;
let spent = 0;

/** A refusal, with the code and the sentence of the daemon. */
export class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Set what asks the user for a token; it is called when a request needs one. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** Call a function whenever the token changes. */
export const onToken = (listener) => listeners.add(listener);

export const hasToken = () => token !== null;

/** Return the token for a client, or undefined. */
export const currentToken = () => token ?? undefined;

export function setToken(value) {
  token = value;
  for (const listener of listeners) listener(value);
}

/** Return an address of the daemon, below the prefix where it is mounted. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  return url;
}

/** Return a channel or another name as a path: each segment is escaped. */
export const inPath = (name) => name.split("/").map(encodeURIComponent).join("/");

/** Send a request with the token, and return the response, whatever its status is. */
export async function send(path, { query, headers = {}, ...options } = {}) {
  const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
  const init = { cache: "no-store", credentials: "same-origin", ...options, headers: { ...headers, ...authorization } };
  const begin = performance.now();
  const response = await fetch(address(path, query), init);
  const duration = performance.now() - begin;
  fastest = Math.min(fastest, duration);
  spent += duration - fastest;
  return response;
}

/** Send a request; return the response. While the daemon wants another token, the user is asked for one. */
export async function request(path, options = {}) {
  for (;;) {
    const used = token;
    const response = await send(path, options);
    if (response.ok) return response;
    const refusal = await refusalOf(response);
    if (response.status !== 401) throw refusal;
    if (token === used && !(await askForToken(refusal))) throw refusal;
  }
}

/** Return the JSON of an address. */
export const get = async (path, query) => (await request(path, { query })).json();

/** Post JSON; return the JSON of the answer. */
export async function post(path, body, query) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body), query })).json();
}

export async function refusalOf(response) {
  try {
    const { error } = await response.json();
    return new Refusal(response.status, error.code, error.message);
  } catch {
    return new Refusal(response.status, "http", `the daemon answered ${response.status}`);
  }
}

/**
 * Call an asynchronous function every two seconds while the page is visible, and less often if it takes long. The first
 * call is at once. It stops when the signal is aborted.
 */
export async function poll(call, signal, onError) {
  while (!signal.aborted) {
    spent = 0;
    try {
      await call();
    } catch (error) {
      if (signal.aborted) return;
      onError(error);
    }
    const pause = Math.max(SHORTEST_PAUSE, PAUSES_PER_DURATION * spent);
    await rest(Math.min(pause, 60000), signal);
    if (document.hidden) await visible(signal);
  }
}

function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

function visible(signal) {
  return new Promise((resolve) => {
    const check = () => document.hidden || resolve();
    document.addEventListener("visibilitychange", check, { signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

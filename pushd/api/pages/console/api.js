// Requests to the daemon. The token is in this module's memory only, and in no address.

const BASE = new URL("..", import.meta.url);
const SHORTEST_PAUSE = 2000;
/** A poll pauses for so many times as long as the request took, so that it uses at most 2 % of the daemon's time. */
const PAUSES_PER_DURATION = 50;

let token = null;
let askForToken = () => Promise.resolve(null);
const listeners = new Set();

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
  return fetch(address(path, query), init);
}

/** Send a request; return the response. Ask for a token if it needs one. */
export async function request(path, options = {}) {
  const response = await send(path, options);
  if (response.ok) return response;
  const refusal = await refusalOf(response);
  if (response.status === 401 && !options.isQuiet) {
    if (await askForToken(refusal)) return request(path, { ...options, isQuiet: true });
  }
  throw refusal;
}

/** Return the JSON of an address. */
export const get = async (path, query, options = {}) => (await request(path, { query, ...options })).json();

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
    const begin = performance.now();
    try {
      await call();
    } catch (error) {
      if (signal.aborted) return;
      onError(error);
    }
    const pause = Math.max(SHORTEST_PAUSE, PAUSES_PER_DURATION * (performance.now() - begin));
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

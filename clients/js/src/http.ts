/** Requests to the daemon, with the token of the application. */

import { PushdError, inPath, type Wire } from "./wire.js";

/** A token, or a function that returns a valid one; it is called again when the token was refused or expires. */
export type TokenSource = string | (() => Token | Promise<Token>);

type Token = string | null | undefined;

export interface HttpOptions {
  token?: TokenSource;
  credentials?: RequestCredentials;
}

export type Query = Record<string, string | number | undefined | null | false>;

export class Http {
  _token?: Token;
  private _pending?: Promise<Token>;

  constructor(
    /** Address of the daemon, without a slash at the end. */
    readonly base: string,
    private readonly _options: HttpOptions,
  ) {}

  /** Whether the application can provide another token than the refused one. */
  get _canRenew(): boolean {
    return typeof this._options.token == "function";
  }

  /** Return the current token, or a falsy value if the application has none. Concurrent calls share one request for it. */
  async _getToken(): Promise<Token> {
    const { token } = this._options;
    return (this._token ??= await (this._pending ??= Promise.resolve()
      .then(() => (typeof token == "function" ? token() : token))
      .finally(() => (this._pending = undefined))));
  }

  /** Forget a token that was refused or is about to expire. */
  _forget(token = this._token): void {
    if (this._token == token) this._token = undefined;
  }

  /** Return the address of a resource, or of topics below one whose name ends with a slash. */
  _url(resource: string, topics: string[] = [], query: Query = {}): string {
    let url = `${this.base}/${resource}${inPath(topics)}`;
    let mark = "?";
    for (const [name, value] of Object.entries(query))
      if (value || value === 0) {
        url += `${mark}${name}=${encodeURIComponent(value)}`;
        mark = "&";
      }
    return url;
  }

  /**
   * Send a request for a resource and topics, a second time with a new token if the first one was refused.
   *
   * @throws PushdError if the daemon refuses it.
   */
  async _send(resource: string, topics?: string[], query?: Query, init: RequestInit = {}): Promise<Response> {
    const url = this._url(resource, topics, query);
    for (let again = this._canRenew; ; again = false) {
      const token = await this._getToken();
      const headers: Record<string, string> = { ...(init.headers as Record<string, string>) };
      if (token) headers.authorization = `Bearer ${token}`;
      const { credentials } = this._options;
      const answer = await fetch(url, { cache: "no-store", credentials, ...init, headers });
      if (answer.ok) return answer;
      const error = await refusal(answer);
      if (answer.status == 401) this._forget(token);
      if (answer.status != 401 || !again) throw error;
    }
  }
}

const refusal = async (answer: Response): Promise<PushdError> => {
  const { status, headers } = answer;
  const { code, message }: Wire = (await answer.json().catch(() => 0)).error ?? {};
  return new PushdError(
    code ?? `http-${status}`,
    message ?? `HTTP ${status}`,
    status,
    +headers.get("retry-after")! || undefined,
  );
};

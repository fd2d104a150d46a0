/** `<pushd-source>`: a subscription as an element, for htmx, Turbo and pages without scripts of their own. */

import { connect, type Client, type Subscription } from "./client.js";

/** One client for all elements with the same address and attributes. */
const clients = new Map<string, Client>();

/**
 * Subscribes while it is in the document.
 *
 * Attributes: `topics`; `src`, the address of the daemon, by default that of this script; `since`; `tabs`; `resume`;
 * `token-url`, an address that answers with a token as text; `target`, a selector of elements into which the data of each
 * message is put as HTML, and `swap`, how (`innerHTML`, `beforeend` …); `turbo`, to pass the data to Turbo as streams.
 *
 * Each message is an event `message` that bubbles: a `MessageEvent` with the data as text.
 */
export class PushdSource extends HTMLElement {
  private _subscription?: Subscription;

  connectedCallback(): void {
    const get = (name: string) => this.getAttribute(name) ?? undefined;
    const url = new URL(get("src") ?? "./", get("src") ? document.baseURI : import.meta.url).href;
    const key = JSON.stringify([url, get("token-url"), get("tabs"), get("resume")]);
    let client = clients.get(key);
    if (!client) {
      const tokenUrl = get("token-url");
      client = connect(url, {
        tabs: this.hasAttribute("tabs"),
        resume: this.hasAttribute("resume"),
        token: tokenUrl ? async () => (await fetch(tokenUrl)).text() : undefined,
      });
      clients.set(key, client);
    }
    this._subscription?.close();
    if (this.hasAttribute("turbo")) (globalThis as any).Turbo.connectStreamSource(this);
    this._subscription = client.subscribe(get("topics") ?? "", { since: get("since") }, (message) => {
      const { data } = message;
      const text = typeof data == "string" ? data : JSON.stringify(data);
      this.dispatchEvent(new MessageEvent("message", { data: text, lastEventId: message.id, bubbles: true }));
      for (const target of document.querySelectorAll(get("target") ?? "not-found")) swap(this, target, text, get("swap") ?? "innerHTML");
    });
    for (const type of ["gap", "end", "error"])
      this._subscription.on(type, (detail) => this.dispatchEvent(new CustomEvent(`pushd:${type}`, { detail, bubbles: true })));
  }

  disconnectedCallback(): void {
    this._subscription?.close();
    this._subscription = undefined;
    if (this.hasAttribute("turbo")) (globalThis as any).Turbo.disconnectStreamSource(this);
  }
}

/** Put HTML into an element, with htmx if the page has it. */
const swap = (source: Element, target: Element, html: string, swapStyle: string): void => {
  const { htmx } = globalThis as any;
  // Since version 4 htmx takes one object.
  if (parseInt(htmx?.version) > 3) void htmx.swap({ sourceElement: source, target, text: html, swap: swapStyle });
  else if (htmx) htmx.swap(target, html, { swapStyle });
  else if (swapStyle == "innerHTML") target.innerHTML = html;
  else target.insertAdjacentHTML(swapStyle as InsertPosition, html);
};

customElements.define("pushd-source", PushdSource);

// One channel: its messages live, its state, its members, and the form that publishes to it.

import { address, currentToken, get, inPath, poll, request, send } from "./api.js";
import { announce, empty, h, heading } from "./dom.js";
import { ago, bytes, number } from "./format.js";
import { Messages } from "./messages.js";
import { publishForm } from "./publish.js";

const STARTS = [["last:20", "the last 20"], ["", "now"], ["all", "the beginning"], ["10m", "10 minutes ago"]];

const WAITING = "Waiting for messages. Publish one with the form, or from a shell.";

export async function show(main, signal, channel) {
  if (!channel) {
    main.append(heading("No channel"), empty("Name a channel", h("a", { href: "#/channels" }, "Choose one from the list")));
    return;
  }
  const view = new Channel(signal, channel);
  main.append(...view.elements);
  await view.subscribe("last:20");
  poll(() => view.refresh(), signal, (error) => announce(error.message, true));
}

class Channel {
  constructor(signal, channel) {
    this._signal = signal;
    this._channel = channel;
    this._state = h("span", { class: "badge" }, "connecting …");
    this._since = h("select", { "aria-label": "Begin with", onchange: () => this.subscribe(this._since.value) }, ...STARTS.map(([value, label]) => h("option", { value }, `from ${label}`)));
    this._facts = h("dl", { class: "pairs" });
    this._members = h("ul", { class: "members" });
    this._messages = new Messages((id) => this.subscribe(id));
    this._empty = h("p", { class: "note" }, WAITING);
    this.elements = [
      heading(channel, this._state, h("span", null, this._since)),
      h("div", { class: "two" },
        h("section", { class: "card" }, h("h2", null, "Messages"), this._empty, this._messages.element),
        h("div", null,
          publishForm(channel),
          h("section", { class: "card" }, h("h2", null, "State"), this._facts,
            h("div", { class: "actions" },
              h("a", { href: `#/connections/${encodeURIComponent(channel)}` }, "Its connections"),
              h("button", { type: "button", class: "danger", onclick: () => this._delete() }, "Delete the channel …"))),
          h("section", { class: "card" }, h("h2", null, "Members"), this._members))),
    ];
    signal.addEventListener("abort", () => (this._client?.close(), this._messages.clear()));
  }

  /** Subscribe again: from a cursor, or one of the named starts. */
  async subscribe(since) {
    this._client?.close();
    this._messages.clear();
    this._empty.textContent = WAITING;
    const connect = await loadClient();
    if (this._signal.aborted) return;
    if (!connect) {
      this._badge("bad", "not here");
      this._messages.note("This listener serves only the addresses for operators (http.admin_listen). Open the console through a proxy that also forwards the transports, to follow and publish messages.");
      return;
    }
    const client = (this._client = connect(address("").href, { token: () => currentToken() }));
    client.on("state", ({ state, transport }) => client === this._client && this._badge(state === "open" ? "good" : "warn", state === "open" ? `live, ${transport}` : state));
    const add = (message) => client === this._client && this._add(() => this._messages.add(message));
    const subscription = client.subscribe(this._channel, since ? { since } : {}, add);
    subscription.on("gap", (gap) => this._add(() => this._messages.gap(gap)));
    subscription.on("end", () => this._add(() => this._messages.note("The channel has ended.")));
    subscription.on("error", ({ error }) => (this._badge("bad", error.code ?? "refused"), announce(error.message, true)));
    if (/-\d+$/.test(since)) this._messages.note(`Resumed after ${since}.`);
  }

  _add(add) {
    this._empty.textContent = "The newest first.";
    add();
  }

  _badge(kind, text) {
    this._state.className = `badge ${kind}`;
    this._state.textContent = text;
  }

  /** Read the state and the members again. */
  async refresh() {
    await this._showFacts();
    if (!this._signal.aborted) await this._showMembers();
  }

  async _showFacts() {
    const response = await send(`pub/${inPath(this._channel)}`);
    if (response.status === 404) return this._facts.replaceChildren(h("dt", null, "no messages yet"), h("dd", null, ""));
    const facts = response.ok ? await response.json() : await get(`pub/${inPath(this._channel)}`);
    const transports = Object.entries(facts.transports).map(([name, count]) => `${name} ${number(count)}`);
    const pairs = { kept: number(facts.messages), bytes: bytes(facts.bytes), newest: facts.ended ? "ended" : ago(facts.time), subscribers: number(facts.subscribers) };
    this._facts.replaceChildren(...Object.entries(pairs).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]), ...transports.flatMap((each) => [h("dt", null, "by transport"), h("dd", null, each)]));
  }

  async _showMembers() {
    const response = await send(`presence/${inPath(this._channel)}`, { query: { limit: 100 } });
    if (!response.ok) return this._members.replaceChildren(h("li", null, response.status === 404 ? "not on this listener" : "not granted"));
    const { count, members } = await response.json();
    const items = members.map(({ id, meta }) => h("li", null, h("strong", null, id), meta ? ` ${JSON.stringify(meta)}` : ""));
    if (count > members.length) items.push(h("li", null, `and ${number(count - members.length)} more`));
    this._members.replaceChildren(...(items.length ? items : [h("li", null, "Nobody has entered. Clients enter with ", h("code", null, "client.presence(channel).enter()"), ".")]));
  }

  async _delete() {
    if (!confirm(`Delete ${this._channel} with all its messages? Its subscriptions end.`)) return;
    try {
      await request(`pub/${inPath(this._channel)}`, { method: "DELETE" });
      announce("Channel deleted.");
    } catch (error) {
      announce(error.message, true);
    }
  }
}

/** Return `connect` of the client; null on a listener that does not serve it. */
async function loadClient() {
  try {
    return (await import(address("client.js").href)).connect;
  } catch {
    return null;
  }
}

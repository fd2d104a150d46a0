// The connections of this node: a virtualized list in the order of arrival; slow ones are marked, and can be kicked.

import { get, inPath, poll, request } from "./api.js";
import { announce, empty, field, h, heading } from "./dom.js";
import { ago, bytes, number } from "./format.js";
import { VirtualList } from "./virtual.js";

const PAGE = 500;
/** A connection with so many bytes in its queue is marked as slow. */
const SLOW = 64 * 1024;

export function show(main, signal, channel) {
  const view = new Connections(signal, channel);
  main.append(...view.elements);
  poll(() => view.refresh(), signal, (error) => announce(error.message, true));
}

class Connections {
  constructor(signal, channel) {
    this._signal = signal;
    this._facts = new Map();
    this._isLoading = false;
    this._isComplete = false;
    this._count = h("span", { class: "badge" }, "…");
    this._slow = h("span", { class: "badge warn", hidden: true });
    this._channel = h("input", { type: "search", autocomplete: "off", spellcheck: "false", value: channel, placeholder: "all", onchange: () => this._restart() });
    this._list = new VirtualList("Connections", ["Address", "Transport", "Topics", "Since", "Queue", "Sent", "Kick"], "connections", (id) => this._row(id), () => this._more());
    this._empty = h("div", { hidden: true }, empty("Nobody is connected",
      h("p", null, "Subscribers of this node appear here while they are connected. Try ", h("a", { href: "#/channel/demo" }, "the channel demo"), " in another window.")));
    this.elements = [
      heading("Connections", this._count, this._slow),
      h("form", { class: "row", onsubmit: (event) => event.preventDefault() },
        field("Subscribers of the channel", this._channel, "A name; press Enter."),
        h("div", { class: "beside" }, h("button", { type: "button", class: "danger", onclick: () => this._kickSubject() }, "Kick a subject …"))),
      this._empty,
      this._list.element,
    ];
  }

  _restart() {
    this._isComplete = false;
    this._facts.clear();
    this._list.replace([]);
    this.refresh().catch((error) => announce(error.message, true));
  }

  /** Read the visible page again; at the end of the list, also what is new. */
  async refresh() {
    const [first, end] = this._list.range;
    if (end <= first) return this._more(true);
    const after = first ? this._list.items[first - 1] : undefined;
    const wanted = Math.max(1, end - first);
    const page = await this._page(after, wanted);
    if (this._signal.aborted) return;
    const still = new Set(page.map((each) => each.id));
    const visible = this._list.items.slice(first, end);
    for (const each of page) this._facts.set(each.id, each);
    const gone = new Set(visible.filter((id) => !still.has(id)));
    if (gone.size && page.length) this._list.items = this._list.items.filter((id) => !gone.has(id));
    else if (!page.length) this._list.items = this._list.items.slice(0, first);
    this._list.draw((id) => gone.size > 0 || still.has(id));
    this._isComplete &&= this._list.items.length > end;
    if (end >= this._list.items.length) await this._more(true);
    this._show();
  }

  async _more(isForced = false) {
    if (this._isLoading || (this._isComplete && !isForced)) return;
    this._isLoading = true;
    try {
      const page = await this._page(this._list.items.at(-1), PAGE);
      if (this._signal.aborted) return;
      for (const each of page) this._facts.set(each.id, each);
      this._isComplete = page.length < PAGE;
      if (page.length) this._list.append(page.map((each) => each.id));
      this._show();
    } finally {
      this._isLoading = false;
    }
  }

  _page = (after, limit) => get("connections", { channel: this._channel.value.trim(), after, limit });

  _show() {
    const { length } = this._list.items;
    const slow = this._list.items.filter((id) => this._facts.get(id)?.queue_bytes >= SLOW).length;
    this._count.textContent = `${number(length)}${this._isComplete ? "" : " and more"}`;
    this._slow.hidden = !slow;
    this._slow.textContent = `${slow} slow`;
    this._empty.hidden = length > 0;
    this._list.element.hidden = length === 0;
  }

  _row(id) {
    const facts = this._facts.get(id);
    const isSlow = facts.queue_bytes >= SLOW;
    return h("div", { class: isSlow ? "slow-row" : "" },
      h("span", { title: `${facts.address}, connection ${id}` }, facts.address),
      h("span", null, facts.transport),
      h("span", { title: facts.topics.slice(0, 20).join(" ") }, facts.topics.slice(0, 20).join(" ") || "–"),
      h("span", null, ago(facts.since)),
      h("span", { title: isSlow ? "slow" : null }, isSlow && h("span", { class: "hidden" }, "slow, "), `${isSlow ? "▲ " : ""}${bytes(facts.queue_bytes)}`),
      h("span", null, number(facts.messages)),
      h("span", null, h("button", { type: "button", class: "danger", "aria-label": `Kick ${facts.transport} ${facts.address} ${id}`, onclick: () => this._kick(id) }, "Kick")));
  }

  async _kick(id) {
    if (!confirm("Close this connection? Its client may connect again.")) return;
    try {
      await request(`connections/${inPath(id)}`, { method: "DELETE" });
      this._list.items = this._list.items.filter((each) => each !== id);
      this._list.draw(() => true);
      this._show();
      announce("Connection closed.");
    } catch (error) {
      announce(error.message, true);
    }
  }

  async _kickSubject() {
    const subject = prompt("Close all connections of this subject (sub), at all nodes:");
    if (!subject) return;
    try {
      const { closed } = await (await request("connections", { method: "DELETE", query: { sub: subject } })).json();
      announce(`${closed} connections closed.`);
    } catch (error) {
      announce(error.message, true);
    }
  }
}

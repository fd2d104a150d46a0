// The channels by name: a virtualized list. Only the states of the visible ones are asked for.

import { get, poll } from "./api.js";
import { announce, code, empty, field, h, heading } from "./dom.js";
import { ago, number, rate } from "./format.js";
import { VirtualList } from "./virtual.js";

const PAGE = 1000;
const DETAILS = 60;

export function show(main, signal, prefix) {
  const view = new Channels(signal);
  main.append(...view.elements);
  view.search(prefix);
  view.onScroll(() => view.showDetailsSoon());
  poll(() => view.refresh(), signal, (error) => announce(error.message, true));
}

class Channels {
  constructor(signal) {
    this._signal = signal;
    this._prefix = "";
    this._next = null;
    this._isLoading = false;
    this._details = new Map();
    this._input = h("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder: "chat/", oninput: () => this._typed() });
    this._count = h("span", { class: "badge" }, "…");
    this._list = new VirtualList("Channels", ["Channel", "Rate", "Subscr.", "By transport", "Newest"], "channels", (name) => this._row(name), () => this._more());
    this._empty = h("div", { hidden: true });
    this.elements = [
      heading("Channels", this._count),
      field("Names that begin with", this._input),
      this._empty,
      this._list.element,
    ];
  }

  /** Call a function when the list was scrolled. */
  onScroll(listener) {
    this._list.element.querySelector(".window").addEventListener("scroll", listener);
  }

  /** Ask for the states of other rows once scrolling has paused. */
  showDetailsSoon() {
    clearTimeout(this._scrolled);
    this._scrolled = setTimeout(() => this._showDetails().catch((error) => announce(error.message, true)), 200);
  }

  _typed() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.search(this._input.value), 250);
  }

  async search(prefix) {
    this._prefix = prefix;
    if (this._input.value !== prefix) this._input.value = prefix;
    this._next = null;
    await this._load("", (names) => this._list.replace(names));
  }

  async _more() {
    if (this._next !== null) await this._load(this._next, (names) => this._list.append(names));
  }

  async _load(after, add) {
    if (this._isLoading && after) return;
    const prefix = this._prefix;
    this._isLoading = true;
    try {
      const { channels, next } = await get("channels", { prefix, after, limit: PAGE });
      if (this._signal.aborted || prefix !== this._prefix) return;
      this._next = next;
      add(channels);
      this._showCount();
    } catch (error) {
      announce(error.message, true);
    } finally {
      this._isLoading = false;
    }
    this.showDetailsSoon();
  }

  _showCount() {
    const { length } = this._list.items;
    this._count.textContent = `${number(length)}${this._next === null ? "" : " and more"}`;
    this._empty.hidden = length > 0;
    this._list.element.hidden = length === 0;
    if (!length) this._empty.replaceChildren(this._prefix ? nothingFound(this._prefix) : noChannels());
  }

  /** Ask for the states of the visible channels; look for new channels if the list is short. */
  async refresh() {
    if (this._next === null && this._list.items.length < PAGE && !this._isLoading) await this._reload();
    await this._showDetails();
  }

  async _showDetails() {
    const [first, end] = this._list.range;
    if (end <= first || this._signal.aborted) return;
    const after = first ? this._list.items[first - 1] : "";
    const limit = Math.min(DETAILS, end - first);
    const { channels, seconds } = await get("channels", { prefix: this._prefix, after, limit, details: 1 });
    const before = this._details;
    this._details = new Map(channels.map((each) => [each.channel, { ...each, seconds, rate: rateOf(before.get(each.channel), each, seconds) }]));
    if (!this._signal.aborted) this._list.draw((name) => this._details.has(name));
  }

  async _reload() {
    const prefix = this._prefix;
    const { channels, next } = await get("channels", { prefix, limit: PAGE });
    if (prefix !== this._prefix || this._signal.aborted) return;
    if (channels.join("\n") === this._list.items.join("\n")) return;
    this._next = next;
    this._list.replace(channels);
    this._showCount();
  }

  _row(name) {
    const details = this._details.get(name);
    const transports = Object.entries(details?.transports ?? {}).map(([transport, count]) => `${transport} ${number(count)}`);
    return h("div", null,
      h("span", null, h("a", { href: `#/channel/${encodeURIComponent(name)}`, title: name }, name)),
      h("span", null, details && details.rate !== null ? rate(details.rate) : "…"),
      h("span", null, details ? number(details.subscribers) : "…"),
      h("span", { title: transports.join(", ") }, transports.join(", ") || "–"),
      h("span", null, details?.ended ? "ended" : details ? ago(details.time) : "…"));
  }
}

/** Return the messages per second between two answers, or since the count began; null if it has just begun. */
function rateOf(before, now, seconds) {
  if (before && before.seconds < seconds) return published(before, now) / (seconds - before.seconds);
  return seconds > 1 ? now.published / seconds : null;
}

/** Return how many messages there were: with Redis, at least, if no subscriber of this node receives them. */
function published(before, now) {
  const counted = Math.max(0, now.published - before.published);
  return counted || now.last === before.last ? counted : Math.max(1, now.messages - before.messages);
}

const noChannels = () => empty("There are no channels yet", h("p", null, "A channel begins with its first message. Publish one:"),
  code(`curl -d hello ${new URL("../pub/demo", import.meta.url)}`));

const nothingFound = (prefix) => empty(`No channel begins with “${prefix}”`,
  h("p", null, "The search compares the beginning of names, with upper and lower case. "),
  h("p", null, h("a", { href: `#/channel/${encodeURIComponent(prefix)}` }, "Open it anyway"), " to wait for its first message."));

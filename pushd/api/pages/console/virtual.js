// A list of many rows of one height: only those that are visible exist, and more are loaded near the end.

import { h } from "./dom.js";

const HEIGHT = 44;
/** Browsers limit the height of an element; 200,000 rows stay below it. */
const MOST = 200000;

export class VirtualList {
  /** `render(item)` returns the element of a row; `more()` is called when the end is near. */
  constructor(label, heads, className, render, more) {
    this.items = [];
    this._render = render;
    this._more = more;
    this._shown = new Map();
    this._space = h("div", { class: "space" });
    this._window = h("div", { class: "window", tabindex: "0", role: "rowgroup" }, this._space);
    const head = h("div", { class: "line-of head", role: "row" }, ...heads.map((each) => h("span", { role: "columnheader" }, each)));
    this.element = h("div", { class: `list ${className}`, role: "table", "aria-label": label }, h("div", { role: "rowgroup" }, head), this._window);
    this._window.addEventListener("scroll", () => this.draw());
  }

  /** The numbers of the first visible row and of the row after the last one. */
  get range() {
    const first = Math.floor(this._window.scrollTop / HEIGHT);
    return [first, Math.min(this.items.length, first + Math.ceil(this._window.clientHeight / HEIGHT) + 1)];
  }

  /** Show items, from the beginning of the list on. */
  replace(items) {
    this.items = items;
    this._shown.clear();
    this._space.replaceChildren();
    this._window.scrollTop = 0;
    this.draw();
  }

  /** Add items at the end. */
  append(items) {
    this.items = [...this.items, ...items].slice(0, MOST);
    this.draw();
  }

  /** Draw the visible rows again where they have changed: those that `changed` names, or that were not there. */
  draw(changed = () => false) {
    const [first, end] = this.range;
    this._space.style.height = `${this.items.length * HEIGHT}px`;
    for (const [at, row] of this._shown)
      if (at < first || at >= end || changed(this.items[at])) {
        row.remove();
        this._shown.delete(at);
      }
    for (let at = first; at < end; at += 1)
      if (!this._shown.has(at)) this._add(at);
    this.element.setAttribute("aria-rowcount", String(this.items.length + 1));
    if (end >= this.items.length - 20 && this.items.length < MOST) this._more();
  }

  _add(at) {
    const row = this._render(this.items[at]);
    row.classList.add("item", "line-of");
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", String(at + 2));
    for (const cell of row.children) cell.setAttribute("role", "cell");
    row.style.top = `${at * HEIGHT}px`;
    const next = [...this._shown.keys()].filter((each) => each > at).sort((a, b) => a - b)[0];
    this._space.insertBefore(row, next === undefined ? null : this._shown.get(next));
    this._shown.set(at, row);
  }
}

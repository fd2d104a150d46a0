// A JSON value, folded: objects and arrays open with a click or the keyboard.

import { h } from "./dom.js";

const MOST = 200;

/** Return an element with a value; what is small is open from the beginning. */
export function jsonView(value) {
  return h("div", { class: "json mono" }, node(value, 0));
}

function node(value, depth) {
  if (value === null || typeof value !== "object") return h("span", null, JSON.stringify(value));
  const isArray = Array.isArray(value);
  const entries = Object.entries(value);
  if (!entries.length) return h("span", null, isArray ? "[]" : "{}");
  const items = h("ul", null);
  const details = h("details", null, h("summary", null, summary(value, isArray, entries)), items);
  const fill = () => {
    if (items.firstChild) return;
    for (const [key, each] of entries.slice(0, MOST)) items.append(h("li", null, h("span", { class: "key" }, isArray ? `${key}: ` : `${JSON.stringify(key)}: `), node(each, depth + 1)));
    if (entries.length > MOST) items.append(h("li", null, `… ${entries.length - MOST} more`));
  };
  details.addEventListener("toggle", () => details.open && fill());
  if (depth < 1 && entries.length <= 8) {
    fill();
    details.open = true;
  }
  return details;
}

function summary(value, isArray, entries) {
  const text = JSON.stringify(value);
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return `${isArray ? "[" : "{"}${entries.length}${isArray ? "]" : "}"} ${short}`;
}

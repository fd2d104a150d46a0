// Elements without markup: text is always a text node, so nothing that a publisher sends becomes HTML.

const SVG = "http://www.w3.org/2000/svg";

function set(node, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "value" || name === "checked" || name === "hidden" || name === "disabled") node[name] = value;
  else node.setAttribute(name, value === true ? "" : value);
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) set(node, name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Return an element. Attributes that begin with "on" are listeners. */
export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);

/** Return an element of SVG. */
export const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

/** Show a sentence in the status line, which screen readers announce. */
export function announce(text, isError = false) {
  const line = document.getElementById("status");
  line.textContent = text;
  line.classList.toggle("bad", isError);
}

/** Return the heading of a view and what belongs beside it. */
export const heading = (title, ...beside) => h("div", { class: "heading" }, h("h1", null, title), ...beside);

/** Return a block for a view that has nothing to show: what that means, and what to do. */
export const empty = (title, ...children) => h("div", { class: "empty" }, h("h2", null, title), ...children);

/** Return a block of code with a button that copies it. */
export function code(text, label = "Copy") {
  const button = h("button", { type: "button", class: "quiet copy", onclick: () => copy(text) }, label);
  return h("div", { class: "code" }, h("pre", { tabindex: "0" }, h("code", null, text)), button);
}

/** Copy a text to the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied.");
  } catch {
    announce("The browser does not allow copying here; select the text instead.", true);
  }
}

/** Return a label with its field. */
export const field = (label, input, hint) =>
  h("label", { class: "field" }, h("span", null, label), input, hint ? h("small", null, hint) : null);

/** Return a table: its caption for screen readers, the heads of its columns, and its rows of cells. */
export function table(caption, heads, rows) {
  const head = h("tr", null, ...heads.map((each) => h("th", { scope: "col" }, each)));
  const body = rows.map((cells) => h("tr", null, ...cells.map((cell) => h("td", null, ...[cell].flat()))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, head), h("tbody", null, ...body)));
}

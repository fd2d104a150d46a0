// The form that publishes, beside the same call as curl, Python and JavaScript.

import { address, hasToken, inPath, request } from "./api.js";
import { announce, code, field, h } from "./dom.js";

const LANGUAGES = ["curl", "Python", "JavaScript"];
const TYPES = ["text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"];

/** Return the form for a channel. */
export function publishForm(channel) {
  const data = h("textarea", { "aria-label": "Data", spellcheck: "false" }, "hello");
  const type = h("select", null, ...TYPES.map((each) => h("option", null, each)));
  const event = h("input", { autocomplete: "off", placeholder: "none" });
  const keep = h("input", { type: "checkbox", checked: true });
  const language = h("select", null, ...LANGUAGES.map((each) => h("option", null, each)));
  const example = h("div", null);
  const draft = () => ({ channel, data: data.value, type: type.value, event: event.value.trim(), isKept: keep.checked });
  const draw = () => example.replaceChildren(code(exampleOf(language.value, draft())));
  const form = h("form", { oninput: draw, onsubmit: (submitted) => (submitted.preventDefault(), publish(draft())) },
    field("Data", data),
    h("div", { class: "row" }, field("Type", type), field("Event", event)),
    h("label", null, keep, " keep it in the history"),
    h("div", { class: "actions" }, h("button", { type: "submit" }, "Publish")));
  draw();
  language.addEventListener("change", draw);
  return h("section", { class: "card" }, h("h2", null, "Publish"), form, h("h2", null, "The same call"), field("Language", language), example);
}

async function publish({ channel, data, type, event, isKept }) {
  try {
    const query = { event, keep: isKept ? "" : "0" };
    const response = await request(`pub/${inPath(channel)}`, { method: "POST", body: data, query, headers: { "Content-Type": type } });
    const { id, subscribers } = await response.json();
    announce(`Published${id ? ` as ${id}` : ""} to ${subscribers} subscribers of this node.`);
  } catch (error) {
    announce(error.message, true);
  }
}

/** Return the call in a language. */
export function exampleOf(language, { channel, data, type, event, isKept }) {
  const base = address("").href;
  if (language === "curl") {
    const url = address(`pub/${inPath(channel)}`, { event, keep: isKept ? "" : "0" }).href;
    const token = hasToken() ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : "";
    return `curl ${quoted(url)}${token} \\\n  -H ${quoted(`Content-Type: ${type}`)} \\\n  --data-binary ${quoted(data)}`;
  }
  const isJson = type === "application/json" && isValid(data);
  const text = JSON.stringify(data);
  if (language === "Python") {
    const value = isJson ? `json.loads(${text})` : text;
    const more = [event && `event=${JSON.stringify(event)}`, !isJson && `content_type=${JSON.stringify(type)}`, !isKept && "keep=False"].filter(Boolean);
    const token = hasToken() ? `, token=os.environ["TOKEN"]` : "";
    const imports = [isJson && "import json", hasToken() && "import os"].filter(Boolean).map((each) => `${each}\n`).join("");
    return `${imports}from pushd_client import Pushd\n\nwith Pushd(${JSON.stringify(base)}${token}) as pushd:\n    pushd.publish(${[JSON.stringify(channel), value, ...more].join(", ")})`;
  }
  const options = { ...(event && { event }), ...(!isJson && { type }), ...(!isKept && { keep: false }) };
  const value = isJson ? data : text;
  const token = hasToken() ? ", { token: () => TOKEN }" : "";
  const last = Object.keys(options).length ? `, ${JSON.stringify(options)}` : "";
  return `import { connect } from ${JSON.stringify(address("client.js").href)};\n\nconst client = connect(${JSON.stringify(base)}${token});\nawait client.publish(${JSON.stringify(channel)}, ${value}${last});`;
}

/** Return a text as one word of a shell. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function isValid(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

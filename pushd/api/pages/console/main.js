// The frame of the console: the view of the address, and the dialog that asks for a token.

import { hasToken, onToken, onTokenNeeded, send, setToken } from "./api.js";
import { announce, empty } from "./dom.js";

const VIEWS = {
  "": "overview",
  channels: "channels",
  channel: "channel",
  connections: "connections",
  tokens: "tokens",
  hooks: "hooks",
  wires: "wires",
};
const main = document.getElementById("main");
const dialog = document.getElementById("dialog");
const sign = document.getElementById("sign");
let current = new AbortController();

/** Show the view that the fragment of the address names, such as #/channel/chat/42. */
async function route() {
  current.abort();
  isDeclined = false;
  current = new AbortController();
  const { signal } = current;
  const [, name = "", rest = ""] = /^#\/([^/?]*)\/?(.*)$/.exec(location.hash) ?? [];
  mark(name === "channel" ? "channels" : name);
  announce("");
  main.replaceChildren();
  if (!(name in VIEWS)) {
    main.append(empty("There is no such view"));
    return;
  }
  const { show } = await import(`./${VIEWS[name]}.js`);
  if (signal.aborted) return;
  show(main, signal, decoded(rest));
  document.title = `${main.querySelector("h1")?.textContent ?? "Console"} – pushd`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function mark(name) {
  for (const link of document.querySelectorAll("#nav a")) {
    const isCurrent = link.hash === `#/${name}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (isCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

let asked = null;
let isDeclined = false;

/**
 * Ask for a token; the promise is true if the user has entered one. Requests that fail together ask once, and none asks
 * again in the same view after "Cancel".
 */
function ask(refusal) {
  if (isDeclined) return Promise.resolve(false);
  asked ??= new Promise((resolve) => {
    document.getElementById("dialog-text").textContent =
      (refusal ? `The daemon refused: ${refusal.message}. ` : "") +
      "A token is kept in the memory of this page only, and forgotten when you reload or close it. It needs the operations that you use, such as metrics, channels and connections.";
    document.getElementById("token").value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => resolve(!(isDeclined = dialog.returnValue !== "signed")), { once: true });
  }).finally(() => (asked = null));
  return asked;
}

document.getElementById("sign-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("token");
  setToken(input.value.trim());
  input.value = "";
  dialog.close("signed");
});
document.getElementById("cancel").addEventListener("click", () => dialog.close(""));
sign.addEventListener("click", async () => {
  isDeclined = false;
  if (hasToken()) setToken(null);
  else await ask(null);
  route();
});
onToken((token) => (sign.textContent = token === null ? "Sign in" : "Sign out"));
onTokenNeeded(ask);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => route().then(() => main.focus({ preventScroll: true })));
send("health/live").catch(() => {}); // measures the network, so that polls know what the daemon takes
route();

// The hooks: their states, backlogs and dead letters.

import { get, inPath, poll, request } from "./api.js";
import { announce, code, empty, h, heading, table } from "./dom.js";
import { ago, bytes, number } from "./format.js";

const EXAMPLE = `[hook.app]
url = "https://app.example.org/pushd/hooks"
events = ["connect", "disconnect", "occupied", "vacated"]
secret_files = ["/etc/pushd/hook.secret"]`;

export function show(main, signal) {
  const content = h("div", null);
  main.append(heading("Hooks"), content);
  let shown = "";

  async function refresh() {
    const hooks = await get("hooks");
    const text = JSON.stringify(hooks);
    if (signal.aborted || text === shown) return;
    shown = text;
    content.replaceChildren(hooks.length ? list(hooks, refresh) : none());
  }

  poll(refresh, signal, (error) => announce(error.message, true));
}

const none = () => empty("There are no hooks", h("p", null, "A hook sends events to your application, such as the first subscriber of a channel. Add one to the configuration file, and reload:"), code(EXAMPLE));

const list = (hooks, refresh) => table("Hooks", ["Hook", "State", "Backlog", "Oldest", "Dead letters", "Last failure"], hooks.map((hook) => [
  [h("strong", null, hook.name), h("br"), h("small", null, hook.url), h("br"), h("small", null, hook.events.join(", "))],
  h("span", { class: `badge ${hook.failures ? "warn" : "good"}` }, hook.state),
  `${number(hook.backlog)} (${bytes(hook.backlog_bytes)})`,
  ago(hook.oldest),
  [h("a", { href: `#/channel/${encodeURIComponent(`$hooks/dead/${hook.name}`)}`, "aria-label": `${hook.dead} dead letters of ${hook.name}` }, number(hook.dead)), " ", h("button", { type: "button", class: "quiet", disabled: !hook.dead, onclick: () => replay(hook, refresh) }, "Replay")],
  hook.failure ? h("span", { class: "wrap" }, `${hook.failure} (${hook.failures} in a row)`) : "–",
]));

async function replay(hook, refresh) {
  try {
    const { replayed } = await (await request(`hooks/${inPath(hook.name)}/replay`, { method: "POST" })).json();
    announce(`${replayed} events of ${hook.name} are sent again.`);
    await refresh();
  } catch (error) {
    announce(error.message, true);
  }
}

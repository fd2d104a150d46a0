// The overview: health, version, and the metrics as sparklines.

import { get, poll, request, send } from "./api.js";
import { announce, code, h, heading } from "./dom.js";
import { bytes, duration, number, rate } from "./format.js";
import { parse, quantile, sum } from "./metrics.js";
import { Figure } from "./spark.js";

const milliseconds = (seconds) => (seconds === Infinity ? "> 5 s" : `≤ ${number(seconds * 1000)} ms`);

/** Return where the history is: a backend shows it by the figures that it has. */
function historyOf(metrics) {
  if (metrics.has("pushd_disk_bytes")) return `history on disk, ${bytes(sum(metrics, "pushd_disk_bytes"))}`;
  return metrics.has("pushd_channel_bytes") ? "history in memory" : "history in Redis";
}

export function show(main, signal) {
  const health = h("span", { class: "badge" }, "asking …");
  const facts = h("p", { class: "facts" }, " ");
  const problems = h("ul", { class: "problems" });
  const figures = {
    published: new Figure("Published", rate, "messages accepted"),
    delivered: new Figure("Delivered", rate, "messages, times their subscribers"),
    connections: new Figure("Connections", number, "at this node"),
    channels: new Figure("Channels", number, "with or without messages"),
    queue: new Figure("Queues", bytes, "for subscribers that read slowly"),
    history: new Figure("History", bytes, "kept messages"),
    latency: new Figure("Latency", milliseconds, "99 % of messages, to the socket"),
    cpu: new Figure("CPU", (share) => `${number(share * 100)} %`, "of one core"),
  };
  const transports = h("dl", { class: "pairs" });
  main.append(
    heading("Overview", health),
    facts,
    problems,
    h("div", { class: "cards" }, ...Object.values(figures).map((each) => each.element)),
    h("section", { class: "card" }, h("h2", null, "Connections by transport"), transports),
    h("section", { class: "card" }, h("h2", null, "Try it"),
      h("p", null, "Publish from a shell, and follow the message in the view of its channel:"),
      code(`curl -d hello ${new URL("../pub/demo", import.meta.url)}`),
      h("p", null, h("a", { href: "#/channel/demo" }, "Open the channel demo"))),
  );
  let before = null;
  let version = "";

  async function refresh() {
    await showHealth();
    if (!version) {
      const found = await get("version");
      version = `pushd ${found.version}, Python ${found.python}, Twisted ${found.twisted}`;
    }
    const metrics = parse(await (await request("metrics")).text());
    if (signal.aborted) return;
    const now = performance.now();
    add(metrics, now);
    before = { metrics, now };
  }

  async function showHealth() {
    const { ready, reason, degraded = [] } = await (await send("health/ready")).json();
    health.textContent = !ready ? "not ready" : degraded.length ? "degraded" : "ready";
    health.className = `badge ${!ready ? "bad" : degraded.length ? "warn" : "good"}`;
    problems.replaceChildren(...[reason, ...degraded].filter(Boolean).map((text) => h("li", null, text)));
  }

  function add(metrics, now) {
    const since = before ? (now - before.now) / 1000 : 0;
    const perSecond = (name) => (before ? Math.max(0, sum(metrics, name) - sum(before.metrics, name)) / since : null);
    figures.published.add(perSecond("pushd_published_total"));
    figures.delivered.add(perSecond("pushd_delivered_total"));
    figures.connections.add(sum(metrics, "pushd_connections"));
    figures.channels.add(metrics.has("pushd_channels") ? sum(metrics, "pushd_channels") : null);
    figures.queue.add(sum(metrics, "pushd_queue_bytes"));
    figures.history.add(metrics.has("pushd_history_bytes") ? sum(metrics, "pushd_history_bytes") : null);
    figures.latency.add(quantile(before?.metrics, metrics, "pushd_latency_seconds", 0.99));
    figures.cpu.add(perSecond("process_cpu_seconds_total"));
    const open = metrics.get("pushd_connections") ?? [];
    transports.replaceChildren(...open.flatMap(({ labels, value }) => [h("dt", null, labels.transport), h("dd", null, number(value))]));
    const age = Date.now() / 1000 - sum(metrics, "process_start_time_seconds");
    facts.textContent = `${version} · ${historyOf(metrics)} · running for ${duration(Math.max(0, age))} · ${bytes(sum(metrics, "process_resident_memory_bytes"))} of memory`;
  }

  poll(refresh, signal, (error) => announce(error.message, true));
}

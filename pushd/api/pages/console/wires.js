// The techniques side by side: the request of each, and the bytes of its answer as they arrive.

import { address, hasToken, inPath, refusalOf, send, currentToken } from "./api.js";
import { announce, code, field, h, heading } from "./dom.js";

const WIRES = [
  { name: "Server-sent events", path: "sse", about: "One event per message; browsers reconnect by themselves with the last id." },
  { name: "NDJSON stream", path: "stream", about: "One JSON message per line, for programs." },
  { name: "Raw stream", path: "stream", query: { format: "raw" }, about: "Only the data of each message and a line feed." },
  { name: "multipart/mixed", path: "mixed", about: "One part per message, with its headers." },
  { name: "multipart/x-mixed-replace", path: "multipart", about: "Each part replaces the one before: live images." },
  { name: "Long poll", path: "longpoll", query: { timeout: 20 }, about: "Answers with the next messages, or empty after the timeout." },
  { name: "Poll", path: "poll", query: { since: "last:5" }, about: "Answers at once." },
  { name: "WebSocket, bare", path: "ws", about: "Each message is a frame with its data." },
  { name: "WebSocket, pushd.v1", path: "ws", protocol: "pushd.v1", about: "JSON messages and control objects, with commands in the other direction." },
];
const MOST = 100000;
const CONTROL = /[\x00-\x1f\x7f]/g;

export function show(main, signal) {
  const wire = h("select", null, ...WIRES.map(({ name }, at) => h("option", { value: String(at) }, name)));
  const channel = h("input", { autocomplete: "off", spellcheck: "false", value: "demo" });
  const about = h("p", null);
  const call = h("div", null);
  const output = h("pre", { class: "bytes", tabindex: "0", role: "region", "aria-label": "Bytes of the answer" });
  const stop = h("button", { type: "button", class: "quiet", disabled: true, onclick: () => running?.abort() }, "Stop");
  let running = null;
  const chosen = () => WIRES[Number(wire.value)];
  const draw = () => {
    about.textContent = chosen().about;
    call.replaceChildren(code(callOf(chosen(), channel.value)));
  };
  const begin = async (submitted) => {
    submitted.preventDefault();
    running?.abort();
    const own = (running = new AbortController());
    signal.addEventListener("abort", () => own.abort(), { once: true });
    output.replaceChildren();
    stop.disabled = false;
    try {
      await (chosen().path === "ws" ? readFrames : readBytes)(chosen(), channel.value, output, own.signal);
    } catch (error) {
      if (!own.signal.aborted) announce(error.message, true);
    }
    if (running === own) stop.disabled = true;
  };
  main.append(
    heading("Wires"),
    h("p", null, "Every technique delivers the same messages. Choose one, connect, and publish: its bytes appear as they arrive, with control characters written out."),
    h("form", { class: "card", onsubmit: begin, oninput: draw },
      h("div", { class: "row" }, field("Technique", wire), field("Channel", channel)),
      about, call,
      h("div", { class: "actions" }, h("button", { type: "submit" }, "Connect"), stop, h("a", { href: "#/channel/demo" }, "Publish to demo"))),
    h("section", { class: "card" }, h("h2", null, "Bytes"), output),
    h("section", { class: "card" }, h("h2", null, "Without HTTP"), h("p", null, "The line protocol has a TCP port of its own, 8081 unless tcp.listen says otherwise:"), code("telnet localhost 8081\nSUB demo\nPUB demo hello")),
  );
  draw();
}

function callOf({ path, query, protocol }, channel) {
  const url = address(`${path}/${inPath(channel)}`, query);
  if (path === "ws") return `new WebSocket(${JSON.stringify(url.href.replace(/^http/, "ws"))}${protocol ? `, ["${protocol}"]` : ""})`;
  return `curl -iN ${hasToken() ? `-H "Authorization: Bearer $TOKEN" ` : ""}'${url.href.replaceAll("'", "%27")}'`;
}

async function readBytes({ path, query }, channel, output, signal) {
  const response = await send(`${path}/${inPath(channel)}`, { query, signal });
  if (!response.ok) throw await refusalOf(response);
  const head = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  output.append(h("span", { class: "head" }, `${response.status} ${response.statusText}\n${head.join("\n")}\n\n`));
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { value, done } = await reader.read();
    if (done || signal.aborted) break;
    write(output, decoder.decode(value, { stream: true }));
  }
  output.append(h("span", { class: "head" }, "\n(the answer is complete)"));
}

function readFrames({ path, protocol }, channel, output, signal) {
  return new Promise((resolve, reject) => {
    const token = currentToken();
    const protocols = protocol ? [protocol, ...(token ? [`bearer.${token}`] : [])] : [];
    const socket = new WebSocket(address(`${path}/${inPath(channel)}`).href.replace(/^http/, "ws"), protocols);
    socket.binaryType = "arraybuffer";
    signal.addEventListener("abort", () => socket.close());
    socket.onopen = () => output.append(h("span", { class: "head" }, `101 Switching Protocols${socket.protocol ? `\nsec-websocket-protocol: ${socket.protocol}` : ""}\n\n`));
    socket.onmessage = ({ data }) => {
      const size = typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength;
      output.append(h("span", { class: "head" }, `${typeof data === "string" ? "text" : "binary"} frame, ${size} bytes: `));
      write(output, `${typeof data === "string" ? data : `${size} bytes`}\n`);
    };
    socket.onerror = () => reject(new Error("the WebSocket was refused; a bare one cannot send a token"));
    socket.onclose = ({ code: number, reason }) => {
      output.append(h("span", { class: "head" }, `close ${number} ${reason}\n`));
      resolve();
    };
  });
}

/** Show text; control characters, such as CR, are written out, and lines break after LF. */
function write(output, text) {
  let at = 0;
  for (const match of text.matchAll(CONTROL)) {
    output.append(text.slice(at, match.index), h("span", { class: "control" }, nameOf(match[0])));
    if (match[0] === "\n") output.append("\n");
    at = match.index + 1;
  }
  output.append(text.slice(at));
  while (output.textContent.length > MOST) output.firstChild.remove();
  output.scrollTop = output.scrollHeight;
}

const nameOf = (character) => ({ "\n": "␊", "\r": "␍", "\t": "␉" })[character] ?? String.fromCharCode(0x2400 + (character === "\x7f" ? 0x21 : character.charCodeAt(0)));

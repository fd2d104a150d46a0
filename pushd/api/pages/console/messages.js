// The messages of a channel as they arrive: the newest first, a bounded number, with gaps between them.

import { h } from "./dom.js";
import { bytes, time } from "./format.js";
import { jsonView } from "./json.js";

const MOST = 500;
const MOST_TEXT = 20000;
const IMAGE = /^image\/(png|jpeg|gif|webp|avif|bmp)\b/;

export class Messages {
  /** `resume(id)` is called to subscribe again from after a message. */
  constructor(resume) {
    this._resume = resume;
    this.element = h("ol", { class: "messages", tabindex: "0", "aria-label": "Messages, the newest first" });
    this.count = 0;
  }

  clear() {
    for (const item of [...this.element.children]) this._drop(item);
    this.count = 0;
  }

  add(message) {
    this.count += 1;
    const resume = message.id && h("button", { type: "button", class: "quiet", title: "Subscribe again, from after this message", onclick: () => this._resume(message.id) }, "Resume from here");
    const meta = h("div", { class: "meta" },
      h("span", null, time(message.time)), h("span", { class: "mono" }, message.id ?? "not kept"),
      h("span", null, message.content_type), message.event && h("span", null, `event ${message.event}`),
      message.from && h("span", null, `from ${message.from}`), message.reply_to && h("span", null, "asks for a reply"), resume);
    this._insert(h("li", null, meta, this._content(message)));
  }

  gap({ topic, from, to, reason }) {
    this._insert(h("li", { class: "gap" }, h("strong", null, "Gap: "), `messages of ${topic} are missing (${reason}), after ${from} up to ${to}`));
  }

  note(text) {
    this._insert(h("li", { class: "note" }, text));
  }

  _content({ data, content_type: type }) {
    if (data instanceof Uint8Array) {
      if (!IMAGE.test(type)) return h("pre", null, `${hex(data)}\n${bytes(data.length)}`);
      const address = URL.createObjectURL(new Blob([data], { type: IMAGE.exec(type)[0] }));
      return h("img", { src: address, alt: `Image of ${bytes(data.length)} from a publisher` });
    }
    if (typeof data !== "string") return jsonView(data);
    return h("pre", null, data.length > MOST_TEXT ? `${data.slice(0, MOST_TEXT)} …` : data || " ");
  }

  _insert(item) {
    const { element } = this;
    const isReading = element.scrollTop > 0;
    const before = element.scrollHeight;
    element.prepend(item);
    while (element.children.length > MOST) this._drop(element.lastElementChild);
    if (isReading) element.scrollTop += element.scrollHeight - before;
  }

  _drop(item) {
    for (const image of item.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    item.remove();
  }
}

function hex(data) {
  const shown = [...data.slice(0, 256)].map((byte) => byte.toString(16).padStart(2, "0"));
  return shown.join(" ") + (data.length > 256 ? " …" : "");
}

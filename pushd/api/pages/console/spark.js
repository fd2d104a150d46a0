// A sparkline: the newest values of a figure, as one line. Its size is fixed, so nothing moves when values arrive.

import { h, svg } from "./dom.js";

const POINTS = 60;
const WIDTH = 120;
const HEIGHT = 32;

/** A card with a figure, its unit and its sparkline. */
export class Figure {
  constructor(title, format, hint) {
    this._format = format;
    this._values = [];
    this._value = h("strong", { class: "value" }, "–");
    this._line = svg("polyline", { class: "line", fill: "none", points: "" });
    const chart = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this._line);
    this.element = h("div", { class: "card figure" }, h("h2", null, title), this._value, chart, h("small", null, hint));
  }

  /** Show a value; null if there is none. */
  add(value) {
    this._value.textContent = value === null ? "–" : this._format(value);
    this._values.push(value ?? 0);
    if (this._values.length > POINTS) this._values.shift();
    const top = Math.max(...this._values, 1e-9);
    const step = WIDTH / (POINTS - 1);
    const begin = WIDTH - step * (this._values.length - 1);
    const points = this._values.map((each, at) => `${(begin + at * step).toFixed(1)},${(HEIGHT - 2 - (HEIGHT - 4) * (each / top)).toFixed(1)}`);
    this._line.setAttribute("points", points.join(" "));
  }
}

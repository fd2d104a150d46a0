// Numbers, times and sizes for people.

const COUNT = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => (Math.abs(value) >= 100000 ? SHORT : COUNT).format(value);

export const rate = (value) => `${number(value < 10 ? value : Math.round(value))}/s`;

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const time = (unix) => (unix ? new Date(unix * 1000).toLocaleTimeString() : "–");

/** Return how long ago a time was. */
export function ago(unix) {
  return unix ? `${duration(Math.max(0, Date.now() / 1000 - unix))} ago` : "–";
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// The text format of Prometheus: what the overview shows of it.

const LINE = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** Return the series of a text by name, each a list of labels and a value. */
export function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(LABEL)].map((each) => [each[1], each[2]]));
    if (!series.has(match[1])) series.set(match[1], []);
    series.get(match[1]).push({ labels, value: Number(match[3]) });
  }
  return series;
}

/** Return the sum of a series; 0 if it is not there. */
export const sum = (series, name) => (series.get(name) ?? []).reduce((total, each) => total + each.value, 0);

/** Return the value at a share of a histogram, in seconds, from the difference between two readings. */
export function quantile(before, after, name, share) {
  const old = new Map((before?.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [labels.le, value]));
  const buckets = (after.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [labels.le, value - (old.get(labels.le) ?? 0)]);
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!total) return null;
  const bound = buckets.find(([, count]) => count >= share * total)?.[0];
  return bound === "+Inf" ? Infinity : Number(bound);
}

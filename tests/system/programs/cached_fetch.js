// Requests each URL of standard input, JSON objects with `url` and `headers`, through a cache (RFC 9111) that also keeps
// what does not say how long it is fresh. Prints each response as a line of JSON.

const { Agent, interceptors, request } = require("undici");

const HOUR_MS = 3_600_000;
const dispatcher = new Agent().compose(interceptors.cache({ cacheByDefault: HOUR_MS }));

async function main() {
  for await (const line of require("node:readline").createInterface({ input: process.stdin })) {
    const { url, headers } = JSON.parse(line);
    const response = await request(url, { headers, dispatcher });
    const body = await response.body.text();
    console.log(JSON.stringify({ status: response.statusCode, headers: response.headers, body }));
  }
}

main();

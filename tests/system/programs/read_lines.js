// Prints each line of a response, as the readline of Node.js splits it, as a JSON string.

const { get } = require("node:http");
const { createInterface } = require("node:readline");

get(process.argv[2], async response => {
  for await (const line of createInterface({ input: response, crlfDelay: Infinity })) console.log(JSON.stringify(line));
});

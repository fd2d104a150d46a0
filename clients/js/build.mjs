// Builds the files that the daemon serves; `node build.mjs DIRECTORY` writes them elsewhere.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("src/client.ts"), here("src/client-tabs.ts")],
  outdir: process.argv[2] ?? here("../../pushd/api/pages/client"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  mangleProps: /^_/,
  external: ["./client-tabs.js", "./client.js"],
  legalComments: "none",
  banner: { js: "/* pushd client: https://en.wikipedia.org/wiki/MIT_License */" },
  logLevel: "warning",
});

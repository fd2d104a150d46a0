// Builds the files that the daemon serves; `node build.mjs DIRECTORY` writes them elsewhere.
import { build } from "esbuild";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = process.argv[2] ?? here("../../pushd/api/pages/client");

// One build for all files: they share the short names of the private properties.
const { outputFiles } = await build({
  entryPoints: [here("src/client.ts"), here("src/client-tabs.ts")],
  outdir: target,
  write: false,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  mangleProps: /^_/,
  external: ["./client-tabs.js", "./client.js"],
  logLevel: "warning",
});
await mkdir(target, { recursive: true });
for (const { path, text } of outputFiles) {
  // Terser makes the result 4 % smaller than esbuild alone.
  const { code } = await minify(text, { module: true, ecma: 2020, compress: { passes: 3, unsafe_arrows: true } });
  await writeFile(join(target, path.split("/").pop()), `/* pushd-client, MIT */\n${code}\n`);
}

// Builds the files that the daemon serves; `node build.mjs DIRECTORY` writes them elsewhere.
import { build } from "esbuild";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = process.argv[2] ?? here("../../pushd/api/pages/client");

// The files share the short names of the private properties.
let mangleCache = {};

for (const name of ["client", "client-tabs", "client-lease", "client-element"]) {
  const result = await build({
    entryPoints: [here(`src/${name}.ts`)],
    outdir: target,
    write: false,
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    mangleProps: /^_/,
    mangleCache,
    external: ["./client-tabs.js", "./client-lease.js", "./client.js"],
    logLevel: "warning",
  });
  mangleCache = result.mangleCache;
  // Terser makes the result 4 % smaller than esbuild alone. No getter has side effects, and nothing replaces the built-ins.
  const compress = { inline: 1, passes: 5, pure_getters: true, unsafe: true, unsafe_arrows: true };
  const options = { module: true, ecma: 2020, compress };
  const { code } = await minify(result.outputFiles[0].text, options);
  await mkdir(target, { recursive: true });
  await writeFile(join(target, `${name}.js`), `${code}\n`);
}

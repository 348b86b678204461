// Builds what is committed, the bundle and its types; with a directory as argument, what is published, into that one.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { buildSync } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "../src/holdfast/static/holdfast");
const BANNER = "/* Holdfast client. BSD-3-Clause. Built from client/ by `npm run build`: do not edit. */";

/**
 * What modules say to each other, under names that the bundle may shorten. None of them is part of the public types or
 * of a message: check.mjs looks.
 */
export const INTERNAL = (
  "address agrees attempt begin canonical changed dispatch emit ended flush forget handles heard late limit " +
  "listeners off opened others post presenceNews probe received release schedule settle soon suspend " +
  "suspended sync take userChanged wanted welcomed wrap"
).split(" ");

/** The bundle's text, as an ES module (`esm`) or for `require` (`cjs`). */
function bundle(format) {
  const result = buildSync({
    absWorkingDir: HERE,
    entryPoints: ["src/index.ts"],
    bundle: true,
    format,
    target: "es2022",
    minify: true,
    charset: "utf8",
    mangleProps: new RegExp(`^(${INTERNAL.join("|")})$`),
    legalComments: "none",
    banner: { js: BANNER },
    write: false,
  });
  return result.outputFiles[0].text;
}

/** All public types in one text. */
function types() {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-types-"));
  try {
    const output = join(directory, "holdfast.d.ts");
    const tool = join(HERE, "node_modules/dts-bundle-generator/dist/bin/dts-bundle-generator.js");
    const options = ["--project", "tsconfig.json", "--no-banner", "--silent", "--out-file", output, "src/index.ts"];
    execFileSync(process.execPath, [tool, ...options], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
    return `${BANNER}\n\n/// <reference lib="esnext.disposable" />\n\n${readFileSync(output, "utf8")}`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What Django serves, and what is committed: each file's path and its text. */
export function built() {
  return new Map([
    [join(STATIC, "holdfast.js"), bundle("esm")],
    [join(STATIC, "holdfast.d.ts"), types()],
  ]);
}

/** What is published besides: the same for `require`, and the protocol. */
function packed(directory) {
  const text = types();
  return new Map([
    [join(directory, "holdfast.js"), bundle("esm")],
    [join(directory, "holdfast.cjs"), bundle("cjs")],
    [join(directory, "holdfast.d.ts"), text],
    [join(directory, "holdfast.d.cts"), text],
    [join(directory, "../PROTOCOL.md"), readFileSync(join(HERE, "../PROTOCOL.md"), "utf8")],
  ]);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [path, text] of process.argv[2] ? packed(process.argv[2]) : built()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${path}`);
  }
}

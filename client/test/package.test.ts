import { execFileSync, type ExecFileSyncOptionsWithStringEncoding } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, expect, test } from "vitest";

/** The published package in a project of its own. `npm run fixtures` tries it with what has to be installed first. */

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
const project = mkdtempSync(join(tmpdir(), "holdfast-package-"));
const installed = join(project, "node_modules/holdfast-client");

function run(program: string, ...args: string[]): string {
  const options: ExecFileSyncOptionsWithStringEncoding = { cwd: project, encoding: "utf8", timeout: 60_000 };
  return execFileSync(program, args, options);
}

function write(name: string, text: string): string {
  const path = join(project, name);
  writeFileSync(path, text);
  return path;
}

beforeAll(() => {
  const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", project], { cwd: HERE, encoding: "utf8" });
  const archive = packed.trim().split("\n").at(-1) ?? "";
  mkdirSync(installed, { recursive: true });
  run("tar", "-xzf", archive, "-C", installed, "--strip-components=1");
}, 300_000); // packing builds everything, and other tests run beside it

afterAll(() => {
  rmSync(project, { recursive: true });
});

const USE = `const live = connect({ url: "ws://127.0.0.1:9" }); console.log(live.status, typeof LiveError);`;

test("the package holds both builds with their types, and what describes them", () => {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true });
  expect(files.filter((file) => file.isFile()).map(({ name }) => name).sort()).toEqual([
    "LICENSE",
    "PROTOCOL.md",
    "README.md",
    "fallback.js",
    "holdfast.cjs",
    "holdfast.d.cts",
    "holdfast.d.ts",
    "holdfast.js",
    "html.cjs",
    "html.d.cts",
    "html.d.ts",
    "html.js",
    "package.json",
    "queue.cjs",
    "queue.d.cts",
    "queue.d.ts",
    "queue.js",
    "react.cjs",
    "react.d.cts",
    "react.d.ts",
    "react.js",
    "svelte.cjs",
    "svelte.d.cts",
    "svelte.d.ts",
    "svelte.js",
    "tabs.cjs",
    "tabs.d.cts",
    "tabs.d.ts",
    "tabs.js",
    "textarea.cjs",
    "textarea.d.cts",
    "textarea.d.ts",
    "textarea.js",
    "texts.cjs",
    "texts.d.cts",
    "texts.d.ts",
    "texts.js",
    "views.d.cts",
    "views.d.ts",
    "vue.cjs",
    "vue.d.cts",
    "vue.d.ts",
    "vue.js",
    "yjs.cjs",
    "yjs.d.cts",
    "yjs.d.ts",
    "yjs.js",
  ]);
});

test("Node imports it", () => {
  const file = write("use.mjs", `import { connect, LiveError } from "holdfast-client"; ${USE}`);
  expect(run(process.execPath, file)).toBe("idle function\n");
});

test("Node requires it, as Jest does by default", () => {
  const file = write("use.cjs", `const { connect, LiveError } = require("holdfast-client"); ${USE}`);
  expect(run(process.execPath, "--no-experimental-require-module", file)).toBe("idle function\n");
});

// The other ways to resolve are attw's to check (`npm run check`).
test("TypeScript finds its types where it does not read `exports`", () => {
  const file = write("types.ts", `import { connect, type Live } from "holdfast-client"; export const live: Live = connect();`);
  const resolution = { module: "CommonJS", moduleResolution: "node", ignoreDeprecations: "6.0" };
  const compilerOptions = { ...resolution, target: "ES2022", lib: ["ES2022", "DOM"], types: [], strict: true, noEmit: true };
  write("tsconfig.json", JSON.stringify({ compilerOptions, files: [file] }));
  const compiler = join(HERE, "node_modules/typescript/bin/tsc");
  expect(run(process.execPath, compiler, "--project", "tsconfig.json")).toBe("");
}, 60_000);

test.each(["esm", "cjs"])("esbuild bundles it (%s)", (format) => {
  write("main.js", `import { connect, LiveError } from "holdfast-client"; ${USE}`);
  const esbuild = join(HERE, "node_modules/esbuild/bin/esbuild");
  const out = `out.${format === "esm" ? "mjs" : "cjs"}`;
  run(esbuild, "main.js", "--bundle", `--format=${format}`, "--platform=node", `--outfile=${out}`);
  expect(run(process.execPath, out)).toBe("idle function\n");
});

test("Vite bundles it", () => {
  write("index.html", `<script type="module" src="/main.js"></script>`);
  write("main.js", `import { connect, LiveError } from "holdfast-client"; ${USE}`);
  const vite = join(dirname(createRequire(import.meta.url).resolve("vite/package.json")), "bin/vite.js");
  run(process.execPath, vite, "build", "--logLevel", "error");
  const bundles = readdirSync(join(project, "dist/assets")); // the client, and apart what it loads by itself
  const texts = bundles.map((bundle) => readFileSync(join(project, "dist/assets", bundle), "utf8"));
  expect(texts.filter((text) => text.includes("holdfast.v1.json"))).toHaveLength(1);
}, 60_000);

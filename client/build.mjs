// Builds what is committed, the bundle and its types; with a directory as argument, what is published, into that one.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { buildSync } from "esbuild";
import { minify } from "terser";
import typescript from "typescript";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "../src/holdfast/static/holdfast");
const BANNER = "/* Holdfast, BSD-3-Clause. Built from client/ */";

/**
 * What modules say to each other, under names that the bundle may shorten. None of them is part of the public types or
 * of a message: check.mjs looks.
 */
export const INTERNAL = (
  "address agrees asked attempt begin cancel canonical carrier changed connection cursor dead declared dispatch emit ended ends event " +
  "final flush forget handles heard idle interrupted late limit listeners make manager move off open options " +
  "others patient ping post presenceNews probe promise reject release renew request resolve run schedule sent settle soon stop " +
  "suspend suspended sync take target unread userChanged wanted welcome welcomed wrap"
).split(" ");

/** What can be imported: the client, and what most pages do without. Each is a file of its own. */
const ENTRIES = {
  holdfast: "src/index.ts",
  queue: "src/queue.ts",
  texts: "src/texts.ts",
  yjs: "src/yjs.ts",
  textarea: "src/textarea.ts",
  html: "src/html.ts",
  tabs: "src/tabs.ts",
};

/** Yjs itself, for pages without a bundler: from the version that package-lock.json names, which is why it is no part of an entry. */
const VENDOR = join(HERE, "../src/holdfast/pad/static/holdfast/vendor");

/** What the client loads by itself. Its name is that of the file beside the client. */
const LOADED = { fallback: "src/fallback.ts" };

/** What only the npm package has: entries for frameworks, which pages with a bundler use. They import the client and the framework. */
export const FRAMEWORKS = { react: "src/react.ts", vue: "src/vue.ts", svelte: "src/svelte.ts" };

/** Modules of types only, which the types of the frameworks' entries import. */
const TYPES = { views: "src/views.ts" };

/** Entries that import the client as another module, because a page has one client. */
const BESIDE = [ENTRIES.html, ENTRIES.tabs, ...Object.values(FRAMEWORKS)];

/** Entries whose types are their own, and refer to the client's. */
const OF_THE_CLIENT = [ENTRIES.queue, ENTRIES.yjs, ENTRIES.textarea, ...BESIDE, ...Object.values(TYPES)];

/**
 * An entry's text, as an ES module (`esm`) or for `require` (`cjs`). esbuild shortens properties, terser the rest. `client` is what
 * others import the client by.
 */
export async function bundle(entry, format, client) {
  const result = buildSync({
    absWorkingDir: HERE,
    entryPoints: [entry],
    bundle: true,
    format,
    target: "es2022",
    minify: true,
    charset: "utf8",
    // The other entries are small, and the queue's names go into the browser's storage.
    ...(entry === ENTRIES.holdfast && { mangleProps: new RegExp(`^(${INTERNAL.join("|")})$`) }),
    external: ["yjs", "./fallback.js", ...(BESIDE.includes(entry) ? ["./index.js", ...Object.keys(FRAMEWORKS)] : [])],
    legalComments: "none",
    write: false,
  });
  const options = { module: format === "esm", ecma: 2022, compress: { passes: 3, hoist_funs: true, sequences: false, inline: true, unsafe: true }, format: { preamble: BANNER } };
  const { code } = await minify(result.outputFiles[0].text.replaceAll('"./index.js"', `"${client}"`), options);
  // React Server Components render what such a module exports in the browser only.
  const directive = entry === FRAMEWORKS.react ? `"use client";\n` : "";
  return `${directive}${code}\n`;
}

/**
 * All public types of an entry. The client's are one text. Those of some entries are their own, and refer to
 * the client's: a `Topic<Room>` of the client has to be one for the queue. `suffix` is that of the modules that they describe.
 */
function types(entry, suffix = "js") {
  if (OF_THE_CLIENT.includes(entry)) {
    const source = readFileSync(join(HERE, entry), "utf8");
    const { outputText, diagnostics } = typescript.transpileDeclaration(source, { fileName: entry, reportDiagnostics: true });
    if (diagnostics?.length) throw new Error(`${entry}: ${diagnostics.map(({ messageText }) => JSON.stringify(messageText)).join("; ")}`);
    const text = outputText.replaceAll('"./index.js"', '"./holdfast.js"').replaceAll(/(?<=from "\.\/\w+\.)js(?=")/g, suffix);
    return `${BANNER}\n\n${text}`;
  }
  const directory = mkdtempSync(join(tmpdir(), "holdfast-types-"));
  try {
    const output = join(directory, "holdfast.d.ts");
    const tool = join(HERE, "node_modules/dts-bundle-generator/dist/bin/dts-bundle-generator.js");
    const options = ["--project", "tsconfig.json", "--no-banner", "--silent", "--out-file", output, entry];
    execFileSync(process.execPath, [tool, ...options], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
    return `${BANNER}\n\n/// <reference lib="esnext.disposable" />\n\n${readFileSync(output, "utf8")}`;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Yjs as one module, with the licences of what is in it. Minified twice: terser takes away another kilobyte of 29. */
async function vendored() {
  const modules = join(HERE, "node_modules");
  const { version } = JSON.parse(readFileSync(join(modules, "yjs/package.json"), "utf8"));
  const result = buildSync({
    absWorkingDir: HERE,
    stdin: { contents: 'export * from "yjs";', resolveDir: HERE },
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minify: true,
    charset: "utf8",
    legalComments: "none",
    write: false,
  });
  const preamble = `/* Yjs ${version}, MIT: see yjs.LICENSE. Built from npm's package by client/build.mjs */`;
  const { code } = await minify(result.outputFiles[0].text, { module: true, ecma: 2022, compress: { passes: 3 }, format: { preamble } });
  const licence = ["yjs", "lib0"].map((name) => `${name}\n\n${readFileSync(join(modules, name, "LICENSE"), "utf8")}`);
  return new Map([
    [join(VENDOR, "yjs.js"), `${code}\n`],
    [join(VENDOR, "yjs.LICENSE"), licence.join("\n")],
  ]);
}

/** What Django serves, and what is committed: each file's path and its text. */
export async function built() {
  const files = await vendored();
  for (const [name, entry] of Object.entries(ENTRIES)) {
    files.set(join(STATIC, `${name}.js`), await bundle(entry, "esm", "holdfast"));
    files.set(join(STATIC, `${name}.d.ts`), types(entry));
  }
  for (const [name, entry] of Object.entries(LOADED)) files.set(join(STATIC, `${name}.js`), await bundle(entry, "esm"));
  return files;
}

/** What is published: the same, also for `require`, and the protocol. */
async function packed(directory) {
  const files = new Map([[join(directory, "../PROTOCOL.md"), readFileSync(join(HERE, "../PROTOCOL.md"), "utf8")]]);
  for (const [name, entry] of Object.entries({ ...ENTRIES, ...FRAMEWORKS })) {
    files.set(join(directory, `${name}.js`), await bundle(entry, "esm", "./holdfast.js"));
    files.set(join(directory, `${name}.cjs`), await bundle(entry, "cjs", "./holdfast.cjs"));
  }
  for (const [name, entry] of Object.entries({ ...ENTRIES, ...FRAMEWORKS, ...TYPES })) {
    files.set(join(directory, `${name}.d.ts`), types(entry));
    files.set(join(directory, `${name}.d.cts`), types(entry, "cjs"));
  }
  // `import()` loads an ES module from either build.
  for (const [name, entry] of Object.entries(LOADED)) files.set(join(directory, `${name}.js`), await bundle(entry, "esm"));
  return files;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [path, text] of await (process.argv[2] ? packed(process.argv[2]) : built())) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${path}`);
  }
}

// Everything about the client but its behaviour: types, lint, generated code, and that what is committed is current.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { built, bundle, FRAMEWORKS, INTERNAL } from "./build.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
/** The most bytes of an entry, compressed. */
const LARGEST = {
  "holdfast.js": 8 * 1024,
  "queue.js": 2.5 * 1024,
  "html.js": 5.5 * 1024,
  "fallback.js": 6 * 1024,
  "yjs.js": 3 * 1024,
  "textarea.js": 2 * 1024,
  "react.js": 3 * 1024,
  "vue.js": 2.5 * 1024,
  "svelte.js": 2 * 1024,
  "tabs.js": 9 * 1024,
};
const failures = [];

function run(name, command, ...args) {
  try {
    execFileSync(command, args, { cwd: HERE, stdio: "inherit" });
  } catch {
    failures.push(name);
  }
}

const tool = (path) => join(HERE, "node_modules", path);

run("types of src", process.execPath, tool("typescript/bin/tsc"), "--project", "tsconfig.json");
run("types of test", process.execPath, tool("typescript/bin/tsc"), "--project", "test/tsconfig.json");
run("lint", process.execPath, tool("eslint/bin/eslint.js"), "--max-warnings", "0", ".");
run("codes.ts", join(HERE, "../scripts/generate"), "--check");

const files = await built();
for (const [path, text] of files) {
  const name = path.split("/").at(-1);
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`${name} is not what src/ builds: run \`npm run build\``);
    failures.push(name);
  }
  if (!path.includes("/vendor/")) checkSize(name, text);
}
for (const [name, entry] of Object.entries(FRAMEWORKS)) checkSize(`${name}.js`, await bundle(entry, "esm"));

function checkSize(name, text) {
  const largest = LARGEST[name];
  if (largest === undefined) return;
  const size = gzipSync(text, { level: 9 }).length;
  console.log(`${name}: ${size} bytes compressed of ${largest} allowed`);
  if (size >= largest) failures.push(`size of ${name}`);
}

// A name that the bundle shortens must not be one that others know. The provider's awareness has the names that y-protocols
// gives it; the client has no part in it.
const published = [...files].filter(([path]) => path.endsWith(".d.ts") && !path.endsWith("yjs.d.ts")).map(([, text]) => text);
const known = published.join("\n") + readFileSync(join(HERE, "src/frames.ts"), "utf8");
const clash = INTERNAL.filter((name) => new RegExp(`(readonly |^\\s*)${name}\\??[:(<]`, "m").test(known));
if (clash.length) failures.push(`names that are not internal: ${clash}`);

// Harbor's modules, against the types of its topics. Each app has its static files under one root when they are served.
const example = join(HERE, "../example");
const rooms = readdirSync(example).filter((name) => existsSync(join(example, name, "static")));
const config = mkdtempSync(join(tmpdir(), "holdfast-harbor-"));
try {
  const roots = rooms.map((name) => join(example, name, "static"));
  const include = [...roots.map((root) => `${root}/**/*.js`), join(example, "topics.d.ts")];
  const project = { extends: join(example, "jsconfig.json"), compilerOptions: { rootDirs: roots }, include };
  writeFileSync(join(config, "tsconfig.json"), JSON.stringify(project));
  run("Harbor's modules", process.execPath, tool("typescript/bin/tsc"), "--project", config);
} finally {
  rmSync(config, { recursive: true });
}

// The published types stand alone: they are checked as a user's compiler would, with nothing of src/ in reach.
run("built types", process.execPath, tool("typescript/bin/tsc"), "--project", "test/types");

// What is published is what bundlers and compilers of all kinds find.
const packages = mkdtempSync(join(tmpdir(), "holdfast-pack-"));
try {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", packages], { cwd: HERE, stdio: "ignore" });
  // The types of the entries for frameworks are published only, and packing has built them. The examples of the documentation use them too.
  const page = readFileSync(join(HERE, "../docs/how-to/react-vue-svelte.md"), "utf8");
  const examples = { "room.ts": /^```ts\n(.*?)^```$/ms, "react.tsx": /^```tsx\n(.*?)^```$/ms, "vue.ts": /^<script setup.*?>\n(.*?)^<\/script>$/ms, "svelte.ts": /^<script lang="ts">\n(.*?)^<\/script>$/ms };
  mkdirSync(join(HERE, "build/examples"), { recursive: true });
  for (const [name, pattern] of Object.entries(examples)) writeFileSync(join(HERE, "build/examples", name), pattern.exec(page)[1]);
  run("built types of the frameworks", process.execPath, tool("typescript/bin/tsc"), "--project", "test/types/frameworks");
  const archive = join(packages, readdirSync(packages)[0]);
  run("publint", process.execPath, tool("publint/src/cli.js"), archive, "--strict");
  run("are the types wrong", process.execPath, tool("@arethetypeswrong/cli/dist/index.js"), archive, "--no-color", "--format", "ascii");
} finally {
  rmSync(packages, { recursive: true });
}

if (failures.length) {
  console.error(`failed: ${failures.join(", ")}`);
  process.exit(1);
}

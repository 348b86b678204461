// React 18 for the modules of React DOM 18, which stand beside those of React 19.

import Module, { createRequire } from "node:module";

interface Resolver {
  _resolveFilename: (name: string, ...rest: unknown[]) => string;
}

const resolver = Module as unknown as Resolver;
const { _resolveFilename: resolve } = resolver;
const react18 = createRequire(import.meta.url).resolve("react-18");

resolver._resolveFilename = (name, ...rest) => (name === "react" ? react18 : resolve.call(Module, name, ...rest));

import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const react18 = (name: string): string => fileURLToPath(new URL(`node_modules/${name}-18`, import.meta.url));

export default defineConfig({
  test: {
    environment: "node",
    restoreMocks: true,
    unstubGlobals: true,
    // What a handler throws is reported to the console; no test may leave an unexpected report behind.
    setupFiles: ["test/quiet.ts"],
    projects: [
      { extends: true, test: { name: "client", include: ["test/**/*.test.ts"] } },
      {
        extends: true,
        // The same tests with the oldest React that is supported.
        test: { name: "react-18", include: ["test/react*.test.ts"], setupFiles: ["test/react18.ts"], env: { REACT: "18" } },
        resolve: {
          alias: [
            { find: /^react$/, replacement: react18("react") },
            { find: /^react-dom(?=\/|$)/, replacement: react18("react-dom") },
          ],
        },
      },
    ],
  },
});

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    environment: "node",
    restoreMocks: true,
    unstubGlobals: true,
    // What a handler throws is reported to the console; no test may leave an unexpected report behind.
    setupFiles: ["test/quiet.ts"],
  },
});

import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

export default defineConfig(
  { ignores: ["build/", "dist/", "fixtures/*/", "node_modules/", "test/types/"] },
  js.configs.recommended,
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "off", // types of tests' helpers are plain to see
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
    },
  },
  { files: ["src/**/*.ts"], rules: { "@typescript-eslint/explicit-module-boundary-types": "error" } },
  {
    files: ["*.mjs", "fixtures/*.mjs"],
    languageOptions: { globals: { console: "readonly", process: "readonly" } },
  },
  { files: ["vitest.config.ts"], extends: [tseslint.configs.strict] },
);

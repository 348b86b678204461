import { expect, test, vi } from "vitest";

import { SCENARIOS, Stage } from "./behaviour.js";

/** What this client has of what a scenario may need (conformance/behaviour/README.md). */
const FEATURES: readonly string[] = [
  "aliases",
  "limited-calls-rejected",
  "reconnect",
  "refresh",
  "remembers-positions",
  "rejects-calls-of-left-topics",
];

for (const scenario of SCENARIOS) {
  test.runIf((scenario.needs ?? []).every((feature) => FEATURES.includes(feature)))(scenario.name, async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    await new Stage(scenario).play();
  });
}

test("every scenario has a name of its own", () => {
  expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
});

// Without --strict another name is that of a topic without types.

import { connect, type Topic } from "holdfast";
import "./topics.js";

interface Other {
  events: { left: { who: string } };
}

declare const name: string;
const live = connect();
live.topic(name).on("anything", (payload: unknown) => payload);
live.topic("cellars/1").on("anything", (payload: unknown) => payload);
live.topic<Other>("cellars/1").on("left", ({ who }) => who.trim());
const other: Topic<Other> = live.topic("cellars/1");
live.topic("tide").on("hull:creak", ({ loud }) => loud.toFixed());
// @ts-expect-error: this one is known
live.topic("tide").on("anything", () => undefined);

export { other };

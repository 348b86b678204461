// With --strict a name that no route has is an error.

import { connect } from "holdfast";
import type { Yard } from "./topics.js";

declare const name: string;
const live = connect();
live.topic("tide").on("hull:creak", ({ loud }) => loud.toFixed());
live.topic(name as Yard["name"]).on("built", ({ crew }) => crew.length);
live.topic<Yard>(name).on("built", ({ crew }) => crew.length);
live.topic<{ events: { left: string } }>("cellars/1").on("left", (who) => who.trim());
// @ts-expect-error: misspelt
live.topic("tied");
// @ts-expect-error: it may be any
live.topic(name);
// @ts-expect-error: misspelt
live.lease("yard/north");

export {};

// Code of a page, against the types that the yard's topics make: it only has to compile.

import { connect, type Live, type Topic } from "holdfast";
import type { Yard } from "./topics.js";

const live: Live = connect();
const yard = live.topic("yards/north");
yard satisfies Topic<Yard>;

// ── events ─────────────────────────────────────────────────────────────────────────────────────────

yard.on("built", (boat) => {
  boat.at.trim();
  boat.place.y.toFixed();
  boat.state satisfies "new" | "paid";
  boat.price[0].trim();
  if (boat.part.type === "sail") boat.part.sailArea.toFixed();
  else boat.part.length.toFixed();
  // @ts-expect-error: it may be left out
  boat.hidden.trim();
  // @ts-expect-error: and this may be null
  boat.owner.trim();
  // @ts-expect-error: there is no such field
  boat.nmae;
});
yard.on("hull:creak", ({ loud }, { offset }) => loud + (offset ?? 0));
yard.on("*", (_, event) => event.name === "built" && event.payload.crew.map(({ rank }) => rank));
// @ts-expect-error: misspelt
yard.on("build", () => undefined);

// ── calls ──────────────────────────────────────────────────────────────────────────────────────────

const id: string = await yard.call("build", { place: { x: 1 }, name: "Argo", colour: "blue", price: undefined });
await yard.call("creak");
const found: Record<string, { x: number; y: number }> = await yard.call("look-up");
await yard.call("look-up", { text: "a" }, { timeout: 1_000 });
yard.send("creak");
// @ts-expect-error: there is no such action
await yard.call("biuld", { place: { x: 1 }, name: "Argo" });
// @ts-expect-error: the name is missing
await yard.call("build", { place: { x: 1 } });
// @ts-expect-error: there is no such argument
await yard.call("build", { place: { x: 1 }, name: "Argo", color: "blue" });
// @ts-expect-error: there is no such colour
await yard.call("build", { place: { x: 1 }, name: "Argo", colour: "green" });
// @ts-expect-error: the result is a text
const wrong: number = await yard.call("build", { place: { x: 1 }, name: "Argo" });
// @ts-expect-error: the action takes nothing
await yard.call("creak", { loud: 1 });

// ── state ──────────────────────────────────────────────────────────────────────────────────────────

yard.presence.members.map(({ meta }) => meta?.rank.toFixed());
yard.state.joined?.snapshot?.items.map(({ y }) => y);
// @ts-expect-error: members have no such data
yard.presence.members.map(({ meta }) => meta?.age);

// ── names ──────────────────────────────────────────────────────────────────────────────────────────

const number = 7;
// The route that fits best, although this is a name of the yards' as well.
const slip = live.topic(`yards/north/slips/${number}`);
slip.on("hull:creak", ({ loud }) => loud);
// @ts-expect-error: a slip builds nothing
slip.on("built", () => undefined);
const tide = live.lease("tide", { signal: AbortSignal.timeout(1) });
// @ts-expect-error: the tide has no actions
await tide.call("turn");
declare const either: "tide" | "yards/north";
live.topic(either).on("hull:creak", ({ loud }) => loud);
declare const where: string;
live.topic(`yards/${where}`).on("built", ({ crew }) => crew.length);
live.topic<Yard>(`yards/${where}`).on("built", ({ crew }) => crew.length);

export { found, id, wrong };

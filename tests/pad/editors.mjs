// Three pages that edit one document through a real server, with the modules that Django serves. Prints the text of each.
//
//     node editors.mjs URL SEED

import { connect } from "./holdfast.js";
import { YjsProvider } from "./yjs.js";
import { Doc } from "yjs";

const [url, seed] = process.argv.slice(2);
let state = Number(seed);
const below = (limit) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
};
/** A place between two characters. Yjs and pycrdt do not agree on what half a character is; no binding cuts one. */
const place = (text, at) => (/^[\udc00-\udfff]/.test(text.toJSON().slice(at)) ? at + 1 : at);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const pages = ["a", "b", "c"].map((name) => {
  const live = connect({ url, shared: false, backoff: { base: 50, cap: 200 } });
  const doc = new Doc();
  const provider = new YjsProvider(live.topic("pads/plans"), doc, { interval: 5 });
  return { name, live, provider, text: doc.getText("text") };
});
await Promise.all(pages.map(({ provider }) => provider.whenSynced));

for (let step = 0; step < 150; step++) {
  const { name, live, text } = pages[below(3)];
  const at = place(text, below(text.length + 1));
  const dice = below(10);
  if (dice < 7) text.insert(at, `${name}${step}🙂 `);
  else if (dice < 9) text.delete(at, place(text, Math.min(at + 3, text.length)) - at);
  else live.reconnect();
  await pause(5);
}
pages[0].text.insert(0, "long ".repeat(10_000)); // more than one message holds

const texts = () => pages.map(({ text }) => text.toJSON());
const calm = () => pages.every(({ provider }) => !provider.state.unsent) && new Set(texts()).size === 1;
for (let since = Date.now(); !calm() || Date.now() - since < 500; await pause(20)) {
  if (!calm()) since = Date.now();
}
console.log(JSON.stringify(texts()));
for (const { live } of pages) live.close();

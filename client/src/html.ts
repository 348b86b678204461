/**
 * HTML over the wire: `<live-topic name="rooms/lobby">` keeps a part of the page up to date with the fragments that the
 * server publishes (`topic.publish_html`).
 *
 *     <script type="module" src="/static/holdfast/html.js"></script>
 *
 * It is no part of the client because pages that draw with JavaScript do without it.
 */

import { carryBy } from "./feed.js";
import { morphBy } from "./fragment.js";
import { extendHtmx } from "./htmx.js";
import type { Live } from "./index.js";
import { Member } from "./member.js";
import { morph as morphed } from "./morph.js";

export interface HtmlOptions {
  /** The client that carries the events: one with a token, for example. Default: the page's, which `connect()` returns. */
  readonly live?: Live | undefined;
  /** Makes an element of the page equal to another: `(from, to) => Idiomorph.morph(from, to)`. Default: `morph`. */
  readonly morph?: ((from: Element, to: Element) => unknown) | undefined;
}

/** Choose another client, or another morph. Call it before the elements are in the page, or in the module that imports this. */
export function configure({ live, morph }: HtmlOptions): void {
  if (live) carryBy(live);
  if (morph) morphBy(morph);
}

/**
 * Make `from` equal to `to`, which is not changed. Elements with an id stay the same elements, with their focus, selection and
 * scroll position, and typed text stays. Returns the element that is in the page then.
 */
export function morph(from: Element, to: Element): Element {
  return morphed(from, to);
}

/** On a server there are no elements; the module can be imported there all the same. */
const Base: typeof HTMLElement = (globalThis as { readonly HTMLElement?: typeof HTMLElement }).HTMLElement ?? (Object as unknown as typeof HTMLElement);

/**
 * `<live-topic name="rooms/lobby" since="k3:41" refresh="/rooms/lobby/">`.
 *
 * - `name`: the topic. `since`: the position of the contents; the element keeps it current.
 * - `refresh`: the page that has the contents, for when events were missed; default: the page that is shown.
 * - `status` is written by the element: `joining`, `joined`, `stale`, `refused` or `left`.
 *
 * It dispatches events that bubble: `live-topic:joined`, `live-topic:event`, `live-topic:reset`, `live-topic:refused`,
 * `live-topic:left` and `live-topic:failed`, and each event of the topic as `live:` and its name.
 */
export class LiveTopicElement extends Base {
  static readonly observedAttributes: readonly string[] = ["name", "since", "status"];
  readonly #member = new Member(this, { name: "name", since: "since", refresh: "refresh", status: "status" });

  connectedCallback(): void {
    this.#member.connect();
  }

  disconnectedCallback(): void {
    this.#member.disconnect();
  }

  /** Moved in the page by `moveBefore`: nothing changes. */
  connectedMoveCallback(): void {
    // Without this method the browser would call the other two.
  }

  attributeChangedCallback(): void {
    this.#member.changed();
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "live-topic": LiveTopicElement;
  }
}

if ("customElements" in globalThis && !customElements.get("live-topic")) {
  customElements.define("live-topic", LiveTopicElement);
  const members = new WeakMap<Element, Member>();
  const attributes = { name: "live-topic", since: "live-since", refresh: "live-refresh", status: "live-status" };
  extendHtmx(
    attributes.name,
    (element) => {
      let member = members.get(element);
      if (!member) {
        const made = (member = new Member(element, attributes, true));
        members.set(element, made);
        // A morph of the page changes attributes of an element that htmx takes for known.
        new MutationObserver(() => {
          made.changed();
        }).observe(element, { attributeFilter: Object.values(attributes) });
      }
      member.connect();
    },
    (element) => members.get(element)?.disconnect(),
  );
}

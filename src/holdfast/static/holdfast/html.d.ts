/* Holdfast, BSD-3-Clause. Built from client/ */

/**
 * HTML over the wire: `<live-topic name="rooms/lobby">` keeps a part of the page up to date with the fragments that the
 * server publishes (`topic.publish_html`).
 *
 *     <script type="module" src="/static/holdfast/html.js"></script>
 *
 * It is no part of the client because pages that draw with JavaScript do without it.
 */
import type { Live } from "./holdfast.js";
export interface HtmlOptions {
    /** The client that carries the events: one with a token, for example. Default: the page's, which `connect()` returns. */
    readonly live?: Live | undefined;
    /** Makes an element of the page equal to another: `(from, to) => Idiomorph.morph(from, to)`. Default: `morph`. */
    readonly morph?: ((from: Element, to: Element) => unknown) | undefined;
}
/** Choose another client, or another morph. Call it before the elements are in the page, or in the module that imports this. */
export declare function configure({ live, morph }: HtmlOptions): void;
/**
 * Make `from` equal to `to`, which is not changed. Elements with an id stay the same elements, with their focus, selection and
 * scroll position, and typed text stays. Returns the element that is in the page then.
 */
export declare function morph(from: Element, to: Element): Element;
/** On a server there are no elements; the module can be imported there all the same. */
declare const Base: typeof HTMLElement;
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
export declare class LiveTopicElement extends Base {
    #private;
    static readonly observedAttributes: readonly string[];
    connectedCallback(): void;
    disconnectedCallback(): void;
    /** Moved in the page by `moveBefore`: nothing changes. */
    connectedMoveCallback(): void;
    attributeChangedCallback(): void;
}
declare global {
    interface HTMLElementTagNameMap {
        "live-topic": LiveTopicElement;
    }
}
export {};

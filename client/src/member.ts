import { Feed } from "./feed.js";
import { morphInto } from "./fragment.js";
import { idOf } from "./morph.js";
import type { Position } from "./position.js";
import { backoff, refreshLater } from "./refresh.js";
import { positionOf, textOf } from "./since.js";

/** The attributes of an element that shows a topic. */
export type Attributes = Readonly<Record<"name" | "since" | "refresh" | "status", string>>;

/** A rendering that an element has asked for. */
export interface Rendering {
  /** The element is still in the page, with the contents that the rendering is to replace. */
  readonly wanted: boolean;
  /** Let the events that waited for it go on. */
  end(): void;
}

/** One element that shows a topic. */
export class Member {
  readonly element: Element;
  /** htmx puts fragments into it. */
  readonly byHtmx: boolean;
  readonly #attributes: Attributes;
  #feed: Feed | undefined;
  #name = "";
  /** Up to where events are in the element's contents. */
  #since: Position | undefined;
  #written: string | null = null;
  /** The status that the element has to show. */
  #shown = "";
  /** Something was missed, so that the contents are of no position. */
  #stale = false;
  /** The position that a rendering has to reach. */
  #goal: Position | undefined;
  #failures = 0;
  /** Counts the contents that came by another way than a rendering of the element: one asked for before is older. */
  #contents = 0;

  constructor(element: Element, attributes: Attributes, byHtmx = false) {
    this.element = element;
    this.#attributes = attributes;
    this.byHtmx = byHtmx;
  }

  get since(): Position | undefined {
    return this.#since;
  }

  /** The page that has the element's contents. */
  get url(): string {
    const url = new URL(this.#read("refresh") ?? location.href, document.baseURI);
    url.hash = "";
    return url.href;
  }

  // ── the element's life ─────────────────────────────────────────────────────────────────────────

  connect(): void {
    const name = this.#read("name");
    if (this.#feed || !name) return;
    if (name !== this.#name || this.#read("since") !== this.#written) this.#contents++;
    this.#rendered();
    this.#stale = false;
    this.#name = name;
    this.#feed = Feed.of(name);
    this.#feed.add(this);
  }

  disconnect(): void {
    const feed = this.#feed;
    this.#feed = undefined;
    feed?.remove(this);
  }

  /**
   * Something has changed an attribute. Another name, or contents from another rendering: begin again from there. A status that a
   * morph of the page took away, because the server's rendering has none, is written again.
   */
  changed(): void {
    if (!this.#feed) return;
    if (this.#read("name") !== this.#name || this.#read("since") !== this.#written) {
      this.disconnect();
      this.connect();
    } else this.#show();
  }

  // ── what the feed says ─────────────────────────────────────────────────────────────────────────

  set status(status: string) {
    this.#shown = this.#stale ? "stale" : status;
    this.#show();
  }

  #show(): void {
    if (this.#read("status") !== this.#shown) this.element.setAttribute(this.#attributes.status, this.#shown);
  }

  /** Dispatch an event of the page. Returns false if a handler has prevented the default. */
  tell(type: string, detail: object): boolean {
    return this.element.dispatchEvent(new CustomEvent(`live-topic:${type}`, { detail, bubbles: true, cancelable: true }));
  }

  /** The contents are those at this position. The attribute says it too, for copies that Turbo or htmx keep of the page. */
  at(position: Position): void {
    if (this.#stale || this.covers(position)) return;
    this.#since = position;
    this.#written = textOf(position);
    this.element.setAttribute(this.#attributes.since, this.#written);
  }

  /** Whether the event at this position is in the contents already. */
  covers({ epoch, offset }: Position): boolean {
    return this.#since?.epoch === epoch && offset <= this.#since.offset;
  }

  /** Events were missed: get the contents from the server. */
  outdated(wait: number): void {
    this.#stale = true;
    this.status = "stale";
    refreshLater(this, wait);
  }

  // ── a fresh rendering ──────────────────────────────────────────────────────────────────────────

  /** Let events wait for a rendering. Returns undefined if none is wanted any more. */
  awaitRendering(): Rendering | undefined {
    const feed = this.#feed;
    if (!feed || !this.element.isConnected) return undefined;
    this.#goal = feed.position;
    this.element.setAttribute("aria-busy", "true"); // screen readers wait until all is there
    const goOn = feed.hold();
    const contents = this.#contents;
    const wanted = (): boolean => this.#feed !== undefined && contents === this.#contents;
    return {
      get wanted() {
        return wanted();
      },
      end: () => {
        this.element.removeAttribute("aria-busy");
        goOn();
      },
    };
  }

  /** Take the contents from a page. */
  render(page: ParentNode): void {
    const id = idOf(this.element);
    const selector = id ? `#${CSS.escape(id)}` : `[${this.#attributes.name}="${CSS.escape(this.#name)}"]`;
    const found = id ? page.querySelector(selector) : this.#counterpart(page, selector);
    if (!found) {
      this.giveUp(`${this.url} has no ${selector}${id ? "" : " in its place; give each element of a topic an id"}`);
      return;
    }
    const text = found.getAttribute(this.#attributes.since);
    this.#written = text; // no change to begin again from
    morphInto(this.element, found);
    this.#rendered();
    if (text && this.#goal && !this.covers(this.#goal)) {
      this.retry(); // the page comes from a cache, or from a database that lags behind
      return;
    }
    this.#stale = false;
    this.#failures = 0;
    this.#feed?.show();
  }

  /** The element of a page that has the place of this one among those of the same topic and page. */
  #counterpart(page: ParentNode, selector: string): Element | undefined {
    const refresh = this.#read("refresh");
    const ofPage = (element: Element): boolean => element.getAttribute(this.#attributes.refresh) === refresh;
    const all = [...page.querySelectorAll(selector)];
    const same = all.filter(ofPage);
    const place = [...document.querySelectorAll(selector)].filter(ofPage).indexOf(this.element);
    return (same.length ? same : all)[place];
  }

  retry(): void {
    this.outdated(backoff(this.#failures++));
  }

  giveUp(why: string): void {
    console.warn(`Holdfast: "${this.#name}" missed events, and ${why}. Set refresh="…" to a page that has it.`);
    this.tell("failed", { reason: why });
  }

  #rendered(): void {
    this.#written = this.#read("since");
    this.#since = positionOf(this.#written);
  }

  #read(attribute: keyof Attributes): string | null {
    return this.element.getAttribute(this.#attributes[attribute]);
  }
}

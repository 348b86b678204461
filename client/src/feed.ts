import { attempt } from "./dispatch.js";
import { apply, fragmentsIn, type Fragment } from "./fragment.js";
import { htmx } from "./htmx.js";
import { connect, type EventInfo, type JoinedInfo, type Live, type ResetInfo, type Topic } from "./index.js";
import type { Member } from "./member.js";
import { TABS } from "./pagetabs.js";
import { samePlace, type Position } from "./position.js";

let live: Live | undefined;

/** The client that carries the events; without a call it is the page's. */
export function carryBy(given: Live): void {
  live = given;
}

/** The `connect` of the entry `tabs`, in pages that load it before. */
function pageConnect(): typeof connect | undefined {
  return (globalThis as { [TABS]?: typeof connect })[TABS];
}

const feeds = new Map<string, Feed>();

/**
 * One topic for all elements of the page that show it. Each event is carried out once: its target is found in the
 * whole page. A target inside an element whose contents have the event already is left alone.
 */
export class Feed {
  readonly #name: string;
  readonly #members = new Set<Member>();
  #topic: Topic | undefined;
  #snapshots = false;
  #holds = 0;
  readonly #held: (() => void)[] = [];
  #showing = false;

  static of(name: string): Feed {
    let feed = feeds.get(name);
    if (!feed) feeds.set(name, (feed = new Feed(name)));
    return feed;
  }

  constructor(name: string) {
    this.#name = name;
  }

  get position(): Position | undefined {
    return this.#topic?.position;
  }

  // ── its elements ───────────────────────────────────────────────────────────────────────────────

  add(member: Member): void {
    this.#members.add(member);
    const topic = this.#topic;
    const { since } = member;
    const over = !topic || topic.status === "refused" || topic.status === "left";
    const other = since && !samePlace(since, topic?.position);
    if (over || (other && (this.#members.size === 1 || !topic.position))) this.#lease(since);
    else if (other && topic.position && !member.covers(topic.position)) member.outdated(0);
    member.status = this.#topic?.status ?? "joining";
  }

  /** An element that only moves in the page comes back in the same turn. */
  remove(member: Member): void {
    this.#members.delete(member);
    queueMicrotask(() => {
      if (this.#members.size) return;
      this.#leave();
      if (feeds.get(this.#name) === this) feeds.delete(this.#name);
    });
  }

  /** Let events wait, until the function that this returns is called. */
  hold(): () => void {
    this.#holds++;
    return () => {
      if (--this.#holds) return;
      for (const carryOut of this.#held.splice(0)) attempt(carryOut);
      this.show();
    };
  }

  /** Let the elements say how they are, and up to where. In a moment: the position moves on after the handlers. */
  show(): void {
    if (this.#showing) return;
    this.#showing = true;
    queueMicrotask(() => {
      this.#showing = false;
      const topic = this.#topic;
      if (!topic) return;
      for (const member of this.#members) {
        if (topic.position && !this.#holds) member.at(topic.position);
        member.status = topic.status;
      }
    });
  }

  // ── the topic ──────────────────────────────────────────────────────────────────────────────────

  #lease(since: Position | undefined): void {
    this.#leave();
    live ??= (pageConnect() ?? connect)();
    const topic = (this.#topic = live.lease(this.#name, { since }));
    /** Events after the end of the lease are not for the elements. */
    const mine =
      <Arguments extends readonly unknown[]>(handler: (...args: Arguments) => void) =>
      (...args: Arguments): void => {
        if (this.#topic === topic) handler(...args);
      };
    const carryOut = mine((info: EventInfo) => {
      this.#event(info);
    });
    topic.on("*", (_, info) => {
      if (this.#holds) this.#held.push(carryOut.bind(undefined, info));
      else carryOut(info);
    });
    topic.lifecycle.on("joined", mine(this.#joined.bind(this)));
    topic.lifecycle.on("reset", mine(this.#reset.bind(this)));
    topic.lifecycle.on("refused", mine(this.#over.bind(this, "refused")));
    topic.lifecycle.on("left", mine(this.#over.bind(this, "left")));
    topic.subscribe(mine(this.show.bind(this)));
  }

  #leave(): void {
    const topic = this.#topic;
    this.#topic = undefined;
    topic?.leave();
  }

  #joined(info: JoinedInfo): void {
    this.#tell("joined", info);
    const state = fragmentsIn(info.snapshot);
    if (state) this.#snapshots = true;
    for (const fragment of state ?? []) this.#apply(fragment, undefined);
    if (!state && !info.recovered) this.#outdated(0);
    this.show();
  }

  /** All subscribers may get a reset at once: their requests are spread over two seconds. */
  #reset(info: ResetInfo): void {
    // A topic whose snapshots are HTML sends one.
    if (this.#tell("reset", info) && !this.#snapshots) this.#outdated(Math.random() * 2_000);
  }

  #over(how: "refused" | "left", info: object): void {
    if (this.#tell(how, info) && how === "refused") console.warn(`Holdfast: "${this.#name}" was refused`, info);
  }

  #outdated(wait: number): void {
    for (const member of this.#members) member.outdated(wait);
  }

  /** Dispatch an event at each element. Returns false if a handler has prevented the default. */
  #tell(type: string, detail: object): boolean {
    return [...this.#members].map((member) => member.tell(type, detail)).every(Boolean);
  }

  // ── events ─────────────────────────────────────────────────────────────────────────────────────

  #event(info: EventInfo): void {
    const { name, payload, offset } = info;
    const epoch = this.position?.epoch;
    const position = epoch !== undefined && offset !== undefined ? { epoch, offset } : undefined;
    const [fragment] = name === "holdfast.html" ? (fragmentsIn(payload) ?? []) : [];
    if (this.#tell("event", info) && fragment) this.#apply(fragment, position);
    this.#trigger(`live:${name}`, payload);
    this.show();
  }

  #apply(fragment: Fragment, position: Position | undefined): void {
    const target = document.getElementById(fragment.target);
    if (!target) return;
    const around = this.#around(target);
    if (around && position && around.covers(position)) return;
    apply(target, fragment, (around ?? [...this.#members][0])?.byHtmx === true);
  }

  /** The nearest of its elements that a target is in. */
  #around(target: Element): Member | undefined {
    for (let element: Element | null = target; element; element = element.parentElement) {
      for (const member of this.#members) if (member.element === element) return member;
    }
    return undefined;
  }

  /** Let `hx-trigger="live:order.shipped"` inside of its elements see an event. Only those of the elements themselves bubble. */
  #trigger(type: string, detail: unknown): void {
    const inside = new Set<Element>();
    for (const { element } of this.#members) {
      for (const each of element.querySelectorAll("[hx-trigger], [data-hx-trigger]")) {
        const triggers = each.getAttribute("hx-trigger") ?? each.getAttribute("data-hx-trigger") ?? "";
        if (triggers.split(/[\s,[]+/).includes(type)) inside.add(each);
      }
    }
    for (const { element } of this.#members) {
      inside.delete(element);
      element.dispatchEvent(new CustomEvent(type, { detail, bubbles: true }));
    }
    for (const each of inside) {
      htmx()?.process(each); // it adds its listeners a moment after it has put an element into the page
      each.dispatchEvent(new CustomEvent(type, { detail }));
    }
  }
}

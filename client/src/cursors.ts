import type { EditorStates } from "./awareness.js";
import type { Cancel, Clock } from "./clock.js";
import type { Topic } from "./topic.js";
import type { EditorState } from "./yjs.js";

/** The event `editor.moved`. */
interface Moved {
  readonly client: number;
  readonly by: string;
  readonly member: string | null;
  readonly user: object;
  readonly state: EditorState | null;
  readonly ask: boolean;
}

/** Node has no such events. */
const page = globalThis as { readonly addEventListener?: typeof addEventListener };

/** Milliseconds between two states that this page sends. */
const GAP = 100;
/** Milliseconds between two answers to pages that ask. Every page answers, so one reader who asks all the time costs all of them. */
const ANSWER_GAP = 1000;
/** After so many milliseconds a page sends its state again, so that others know that it is there. */
const RENEW = 15_000;
/** A state that was not renewed for so long belongs to a page that is gone. */
const OUTDATED = 40_000;

/** Sends this page's state to the other editors of a document, and takes in theirs. */
export class Cursors {
  readonly #topic: Topic;
  readonly #states: EditorStates;
  readonly #clock: Clock;
  readonly #end = new AbortController();
  #planned: Cancel | undefined;
  #renewal: Cancel | undefined;
  #answer: Cancel | undefined;
  /** The others should send theirs. */
  #ask = false;
  #last = -Infinity;

  constructor(topic: Topic, states: EditorStates, clock: Clock) {
    const { signal } = this.#end;
    this.#topic = topic;
    this.#states = states;
    this.#clock = clock;
    states.on("update", this.#local);
    topic.on("editor.moved", (event) => { this.#moved(event as Moved); }, { signal });
    topic.presence.on("left", ({ id }) => { states.drop(({ member }) => member === id); }, { signal });
    // A page that the browser keeps in its cache comes back with `pageshow`; a page that is gone for good has sent its leave.
    page.addEventListener?.("pagehide", () => { this.#send(null); }, { signal });
    page.addEventListener?.("pageshow", () => { this.#plan(); }, { signal });
  }

  /** The topic is joined: show the others where this page is, and see where they are. */
  joined(): void {
    this.#ask = true;
    this.#plan();
    this.#renewal ??= this.#clock.after(RENEW, this.#renew);
  }

  /** The connection is away: the others' cursors may be anywhere by now. */
  interrupted(): void {
    this.#renewal?.();
    this.#renewal = undefined;
    this.#states.drop(() => true);
  }

  close(): void {
    this.#send(null);
    this.#end.abort();
    this.#planned?.();
    this.#answer?.();
    this.#states.off("update", this.#local);
    this.interrupted();
  }

  readonly #local = (_: unknown, origin: unknown): void => {
    if (origin === "local") this.#plan();
  };

  readonly #renew = (): void => {
    const outdated = this.#clock.now() - OUTDATED;
    this.#states.drop(({ seen }) => seen < outdated);
    this.#plan();
    this.#renewal = this.#clock.after(RENEW, this.#renew);
  };

  #moved({ client, by, member, user, state, ask }: Moved): void {
    if (client === this.#states.clientID) return;
    // The server's information about the user replaces the page's own.
    const named = state && { ...state, user: { ...(state["user"] as object | undefined), ...user } };
    this.#states.receive(client, named, { by, member, now: this.#clock.now() });
    if (ask) this.#answer ??= this.#clock.after(this.#gap(ANSWER_GAP), () => {
      this.#answer = undefined;
      this.#plan();
    });
  }

  /** The milliseconds until this page has sent nothing for so long. */
  #gap(since: number): number {
    return Math.max(0, this.#last + since - this.#clock.now());
  }

  #plan(): void {
    this.#planned ??= this.#clock.after(this.#gap(GAP), () => {
      this.#planned = undefined;
      const state = this.#states.getLocalState();
      if (this.#topic.status !== "joined") return; // it will be sent when it is
      this.#send(state);
      this.#ask = false;
    });
  }

  #send(state: EditorState | null): void {
    this.#last = this.#clock.now();
    this.#topic.send("aware", { client: this.#states.clientID, state, ask: this.#ask });
  }
}

/**
 * Provider of Yjs: the editors of a document on a topic that is a `SharedDocument` on the server.
 *
 *     import * as Y from "yjs";
 *     import { YjsProvider } from "holdfast/yjs";
 *     const doc = new Y.Doc();
 *     const provider = new YjsProvider(live.topic("pads/plans"), doc);
 *     await provider.whenSynced;
 *
 * `provider.awareness` is for the bindings of editors, as that of other providers is.
 */

import * as Y from "yjs";

import { EditorStates } from "./awareness.js";
import { fromBase64, toBase64 } from "./base64.js";
import { systemClock } from "./clock.js";
import { Cursors } from "./cursors.js";
import { attempt } from "./dispatch.js";
import type { Cancel, Clock, JoinedInfo, LiveError, Off, Position, Store, Topic, TopicTypes } from "./index.js";
import { samePlace } from "./position.js";

export interface YjsProviderOptions {
  /** Milliseconds between two updates that this page sends; default 50. Changes in between go out together. */
  readonly interval?: number | undefined;
  readonly clock?: Clock | undefined;
}

export interface YjsState {
  /** The document has what the server had when it was joined. */
  readonly synced: boolean;
  /** There are changes of this page that the server has not confirmed. */
  readonly unsent: boolean;
  /**
   * Why the server did not take the last change: `reason` is `read_only`, `document_full`… Undefined again once it has taken
   * one. The change stays in the document of this page.
   */
  readonly error: LiveError | undefined;
}

/** One editor as the others see it: `cursor` and the like by its binding, `user` by the server. */
export type EditorState = Record<string, unknown>;

export interface AwarenessChange {
  readonly added: number[];
  readonly updated: number[];
  readonly removed: number[];
}

/** The states of all editors, by Yjs' id of their document: what bindings use of y-protocols' class of this name. */
export interface Awareness {
  readonly doc: Y.Doc;
  readonly clientID: number;
  getLocalState(): EditorState | null;
  setLocalState(state: EditorState | null): void;
  setLocalStateField(field: string, value: unknown): void;
  getStates(): Map<number, EditorState>;
  /** `change`: a state is another one now; `update`: also when one was only renewed. `origin` is `local` or `remote`. */
  on(name: "change" | "update", handler: (change: AwarenessChange, origin: unknown) => void): void;
  off(name: "change" | "update", handler: (change: AwarenessChange, origin: unknown) => void): void;
}

/** The longest text in one call: a message has 65,536 bytes. Longer updates are sent in parts. */
const PART = 32_000;
/** Milliseconds until a change is sent again that the server did not take. */
const PAUSE = 5_000;

/**
 * Keeps a document the same as on the server and on all other pages. It sends the changes of this page one after the other,
 * those made in between together, and those made while the connection is away when it is back. Whatever was lost on
 * either side, after each fetch of the server's state this page sends what that lacks.
 */
export class YjsProvider<Types extends TopicTypes = TopicTypes> implements Store<YjsState> {
  readonly topic: Topic<Types>;
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  /**
   * Settles when the document has the server's state for the first time: the one that the page came with (`{% live_document %}`),
   * or else the one that the first join brings.
   */
  readonly whenSynced: Promise<void>;
  readonly #topic: Topic;
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #cursors: Cursors;
  readonly #end = new AbortController();
  readonly #listeners = new Set<() => void>();
  #state: YjsState = Object.freeze({ synced: false, unsent: false, error: undefined });
  #unsent: Uint8Array[] = [];
  #sending = false;
  #fetching = false;
  /** The last upload that was begun and not finished: the next one replaces it, or its parts would fill the server's room. */
  #unfinished: string | undefined;
  /** The server's state is known: updates that it lacks can be sent. */
  #ready = false;
  #next = -Infinity;
  #planned: Cancel | undefined;
  #synced!: () => void;
  #done: (() => void) | undefined;

  constructor(topic: Topic<Types>, doc: Y.Doc, { interval = 50, clock = systemClock }: YjsProviderOptions = {}) {
    const { signal } = this.#end;
    const states = new EditorStates(doc);
    this.topic = topic;
    this.#topic = topic;
    this.doc = doc;
    this.awareness = states;
    this.#interval = interval;
    this.#clock = clock;
    this.whenSynced = new Promise((resolve) => (this.#synced = resolve));
    states.setLocalState({});
    this.#cursors = new Cursors(this.#topic, states, clock);
    doc.on("update", this.#changed);
    doc.on("destroy", this.#destroyed);
    this.#topic.on("document.updated", (event) => { this.#apply((event as { readonly data: string }).data); }, { signal });
    this.#topic.lifecycle.on("joined", (info) => { this.#joined(info); }, { signal });
    signal.addEventListener("abort", this.#topic.subscribe(() => { this.#topicChanged(); }));
    if (topic.status === "joined") this.#joined();
    else attempt(() => { this.#takeFromPage(); });
  }

  get state(): YjsState {
    return this.#state;
  }

  get synced(): boolean {
    return this.#state.synced;
  }

  readonly subscribe = (listener: () => void): Off => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  /**
   * End it: the document is not changed any more, and no cursor shown. What is unsent still goes out; the promise settles when
   * it has, or when it cannot. The topic is the caller's to leave, after that.
   */
  async destroy(): Promise<void> {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    this.#cursors.close();
    this.doc.off("update", this.#changed);
    this.doc.off("destroy", this.#destroyed);
    if (!this.#state.unsent || this.#topic.status !== "joined") return;
    this.#next = -Infinity;
    this.#plan();
    await new Promise<void>((resolve) => (this.#done = resolve));
  }

  // ── from the server ────────────────────────────────────────────────────────────────────────────

  #joined(info?: JoinedInfo): void {
    const snapshot = info?.snapshot as { readonly state: string } | undefined;
    if (snapshot) this.#take(snapshot.state);
    else if (!this.#ready) void this.#fetch();
    this.#next = -Infinity;
    this.#plan();
    this.#cursors.joined();
  }

  #topicChanged(): void {
    const { status, error } = this.#topic.state;
    if (status !== "joined") this.#cursors.interrupted();
    if (status === "refused" || status === "left") this.#become({ error: error ?? this.#state.error });
  }

  #apply(data: string): void {
    attempt(() => {
      Y.applyUpdate(this.doc, fromBase64(data), this);
    });
  }

  async #fetch(): Promise<void> {
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      this.#take((await this.#topic.call("state")) as string);
    } catch (error) {
      this.#failed(error as LiveError);
    }
    this.#fetching = false;
  }

  /**
   * Start with the document that the page came with, if the topic goes on from its position. Once the topic has moved on, events have
   * passed that the document lacks.
   */
  #takeFromPage(): void {
    const { name, position } = this.#topic;
    const { document } = globalThis as { readonly document?: Document };
    const text = document?.querySelector(`script[data-holdfast-cursor=${JSON.stringify(name)}]`)?.textContent;
    if (!text || !position) return;
    const found = JSON.parse(text) as Position & { readonly document?: string };
    if (found.document !== undefined && samePlace(found, position)) this.#take(found.document);
  }

  /** Merge the server's document into this one, and keep the updates that it lacks for sending, without what is deleted by now. */
  #take(state: string): void {
    const theirs = new Y.Doc();
    const update = fromBase64(state);
    Y.applyUpdate(theirs, update);
    if (!this.#end.signal.aborted) Y.applyUpdate(this.doc, update, this);
    this.#unsent = [];
    if (lacks(theirs, this.doc)) {
      const known = Y.encodeStateVector(theirs);
      // This document may keep deleted text, for undo. The copy does not.
      Y.applyUpdate(theirs, Y.encodeStateAsUpdate(this.doc, known));
      this.#unsent = [Y.encodeStateAsUpdate(theirs, known)];
    }
    theirs.destroy();
    this.#ready = true;
    this.#become({ synced: true });
    this.#synced();
    this.#plan();
  }

  // ── to the server ──────────────────────────────────────────────────────────────────────────────

  readonly #changed = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return;
    this.#unsent.push(update);
    this.#become({});
    this.#plan();
  };

  /** Do the next step soon: send unsent changes, or first fetch the server's state. */
  #plan(): void {
    if (this.#sending || (this.#ready && !this.#unsent.length)) return;
    this.#planned?.();
    this.#planned = this.#clock.after(Math.max(0, this.#next - this.#clock.now()), () => {
      this.#planned = undefined;
      if (this.#topic.status !== "joined") this.#done?.(); // after the next join; a provider that has ended sees none
      else if (this.#ready) void this.#send();
      else void this.#fetch();
    });
  }

  async #send(): Promise<void> {
    if (this.#sending || this.#topic.status !== "joined" || !this.#unsent.length) return;
    const update = Y.mergeUpdates(this.#unsent);
    this.#unsent = [];
    this.#sending = true;
    this.#next = this.#clock.now() + this.#interval;
    try {
      await this.#upload(toBase64(update));
      this.#sending = false;
      this.#become({ error: undefined });
      this.#plan();
    } catch (error) {
      this.#sending = false;
      this.#unsent.unshift(update);
      this.#failed(error as LiveError);
    }
  }

  async #upload(data: string): Promise<void> {
    if (data.length <= PART) {
      await this.#topic.call("update", { data });
      return;
    }
    const upload = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const last = Math.ceil(data.length / PART) - 1;
    const replaces = this.#unfinished && { replaces: this.#unfinished };
    for (let number = 0; number < last; number++) {
      await this.#topic.call("part", { upload, number, data: data.slice(number * PART, (number + 1) * PART), ...replaces });
      this.#unfinished = upload;
    }
    await this.#topic.call("update", { upload, data: data.slice(last * PART) });
    this.#unfinished = undefined;
  }

  /** A change that the server did not take stays unsent, and goes out with the next one. */
  #failed(error: LiveError): void {
    this.#next = this.#clock.now() + (error.retry ? (error.retryAfter ?? 1) * 1_000 : PAUSE);
    // What is sent next is then what the server lacks: with what it missed, or without what has been deleted since.
    if (!error.retry && error.reason !== "read_only") this.#ready = false;
    const again = error.retry || error.reason === "behind";
    this.#become(again ? {} : { error });
    if (again) this.#plan();
    else this.#done?.();
  }

  readonly #destroyed = (): void => {
    void this.destroy();
  };

  #become(change: Partial<YjsState>): void {
    const unsent = this.#sending || this.#unsent.length > 0;
    if (!unsent) this.#done?.();
    const state = { ...this.#state, unsent, ...change };
    if (Object.entries(state).every(([name, value]) => this.#state[name as keyof YjsState] === value)) return;
    this.#state = Object.freeze(state);
    for (const listener of [...this.#listeners]) attempt(listener);
  }
}

/** Whether `ours` has anything, or has anything deleted, that `theirs` has not. */
function lacks(theirs: Y.Doc, ours: Y.Doc): boolean {
  const [one, other] = [Y.snapshot(theirs), Y.snapshot(ours)];
  if ([...other.sv].some(([client, clock]) => clock > (one.sv.get(client) ?? 0))) return true;
  return !Y.equalDeleteSets(one.ds, Y.mergeDeleteSets([one.ds, other.ds]));
}

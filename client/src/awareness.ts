import type { Doc } from "yjs";

import { attempt } from "./dispatch.js";
import type { Awareness, AwarenessChange, EditorState } from "./yjs.js";

interface Meta {
  clock: number;
  /** Only the sender of the first state of a client may send more states for it. */
  readonly by: string;
  readonly member: string | null;
  seen: number;
}

type Handler = (change: AwarenessChange, origin: unknown) => void;

/**
 * The states of all editors. It has the methods that editor bindings for Yjs use of the class `Awareness` in y-protocols; how
 * states travel is not its business.
 */
export class EditorStates implements Awareness {
  readonly doc: Doc;
  readonly clientID: number;
  readonly states = new Map<number, EditorState>();
  readonly meta = new Map<number, Meta>();
  readonly #handlers = new Map<string, Set<Handler>>();

  constructor(doc: Doc) {
    this.doc = doc;
    this.clientID = doc.clientID;
  }

  getLocalState(): EditorState | null {
    return this.states.get(this.clientID) ?? null;
  }

  setLocalState(state: EditorState | null): void {
    this.#set(this.clientID, state, "local");
  }

  setLocalStateField(field: string, value: unknown): void {
    const state = this.getLocalState();
    if (state) this.setLocalState({ ...state, [field]: value });
  }

  getStates(): Map<number, EditorState> {
    return this.states;
  }

  on(name: string, handler: Handler): void {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
  }

  off(name: string, handler: Handler): void {
    this.#handlers.get(name)?.delete(handler);
  }

  /** Another page's state, sent by the client `by`. */
  receive(client: number, state: EditorState | null, { by, member, now }: { by: string; member: string | null; now: number }): void {
    const known = this.meta.get(client);
    if (client === this.clientID || (known && known.by !== by)) return;
    if (state) this.meta.set(client, { by, member, seen: now, clock: (known?.clock ?? 0) + 1 });
    this.#set(client, state, "remote");
  }

  /** Remove the states of other pages that this is true of. */
  drop(gone: (meta: Meta) => boolean): void {
    for (const [client, meta] of this.meta) if (gone(meta)) this.#set(client, null, "remote");
  }

  #set(client: number, state: EditorState | null, origin: string): void {
    const before = this.states.get(client);
    if (state) {
      this.states.set(client, state);
    } else {
      this.states.delete(client);
      this.meta.delete(client);
    }
    const only = (is: boolean): number[] => (is ? [client] : []);
    const change = { added: only(!before && !!state), updated: only(!!before && !!state), removed: only(!!before && !state) };
    const same = JSON.stringify(before) === JSON.stringify(state ?? undefined);
    if (!same) this.#emit("change", change, origin);
    if (before || state) this.#emit("update", change, origin);
  }

  #emit(name: string, change: AwarenessChange, origin: unknown): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) {
      attempt(() => {
        handler(change, origin);
      });
    }
  }
}

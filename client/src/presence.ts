import type { Off, OnOptions } from "./emitter.js";
import type { Member, PresenceNews } from "./frames.js";
import type { Store } from "./store.js";

export interface PresenceEvents<Meta = unknown> {
  /** The members have changed: called with all of them. Also called when only their number has changed: see `count`. */
  change: [members: readonly Member<Meta>[]];
  /** A member has joined. Not called for the members of the first list. */
  joined: [member: Member<Meta>];
  /** A member is not here any more. */
  left: [member: Member<Meta>];
}

export interface PresenceState<Meta = unknown> {
  /** In the order in which they came, as far as that is known; empty where they are only counted. */
  readonly members: readonly Member<Meta>[];
  /** How many are here; undefined until that is known, and on topics without presence. */
  readonly count: number | undefined;
  /** Whether `members` is the list: false before it is known, and where there are too many to be listed. */
  readonly listed: boolean;
}

/** The members of a topic. They stay as they are while the connection is away; after that, handlers get the differences. */
export interface Presence<Meta = unknown> extends PresenceState<Meta>, Store<PresenceState<Meta>> {
  on<Name extends keyof PresenceEvents>(
    name: Name,
    handler: (...args: PresenceEvents<Meta>[Name]) => void,
    options?: OnOptions,
  ): Off;
}

/** The difference between two lists. */
export interface PresenceChange {
  readonly joined: readonly Member[];
  readonly left: readonly Member[];
}

export const NOT_KNOWN: PresenceState = Object.freeze({ members: Object.freeze([]), count: undefined, listed: false });

/** The list of one topic, as the server's messages make it (PROTOCOL.md, section 2.10). */
export class MemberList {
  #members: ReadonlyMap<string, Member> | undefined;
  #state = NOT_KNOWN;

  get state(): PresenceState {
    return this.#state;
  }

  /** Apply a message of the server. Returns the differences, or undefined if there are none. */
  take({ members, joined = [], left = [], count }: PresenceNews): PresenceChange | undefined {
    if (members) return this.#become(new Map(members.map((member) => [member.id, member])));
    if (count !== undefined) return this.#become(undefined, count);
    if (!this.#members) return undefined;
    const after = new Map(this.#members);
    for (const id of left) after.delete(id);
    for (const member of joined) after.set(member.id, member);
    return this.#become(after);
  }

  clear(): PresenceChange | undefined {
    return this.#become(undefined);
  }

  #become(after: ReadonlyMap<string, Member> | undefined, count = after?.size): PresenceChange | undefined {
    const before = this.#members;
    const joined = before && after ? [...after.values()].filter(({ id }) => !before.has(id)) : [];
    const left = before && after ? [...before.values()].filter(({ id }) => !after.has(id)) : [];
    const same = before && after ? [...after].every(([id, member]) => alike(before.get(id), member)) : before === after;
    if (same && left.length === 0 && count === this.#state.count) return undefined;
    this.#members = after;
    const members = Object.freeze([...(after?.values() ?? [])]);
    this.#state = members.length || count !== undefined ? Object.freeze({ members, count, listed: !!after }) : NOT_KNOWN;
    return { joined, left };
  }
}

function alike(one: Member | undefined, other: Member): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

import { Emitter, type Off } from "./emitter.js";
import type { Known, Member, PresenceNews } from "./frames.js";

export interface PresenceEvents<Meta = unknown> {
  /** Something is different: all who are here now. Also when only how many they are has changed; look at `count` then. */
  change: [members: readonly Member<Meta>[]];
  /** Somebody came who had not been here. Not for those in the first list. */
  joined: [member: Member<Meta>];
  /** Somebody is not here any more. */
  left: [member: Member<Meta>];
}

/** Who is in a topic. While the connection is away it stays as it was; after that, what is different is told. */
export interface Presence<Meta = unknown> {
  /** In the order in which they came, as far as that is known; empty where they are only counted. */
  readonly members: readonly Member<Meta>[];
  /** How many are here; undefined until that is known, and on topics without presence. */
  readonly count: number | undefined;
  /** Whether `members` is the list: false before it is known, and where there are too many to be listed. */
  readonly listed: boolean;

  on<Name extends keyof PresenceEvents>(name: Name, handler: (...args: PresenceEvents<Meta>[Name]) => void): Off;
}

/** The list of one topic, as the server's messages make it (PROTOCOL.md, section 2.10). */
export class MemberList implements Presence {
  readonly #events = new Emitter<PresenceEvents>();
  #members: ReadonlyMap<string, Member> | undefined;
  #count: number | undefined;

  get members(): readonly Member[] {
    return [...(this.#members?.values() ?? [])];
  }

  get count(): number | undefined {
    return this.#count;
  }

  get listed(): boolean {
    return this.#members !== undefined;
  }

  on<Name extends keyof PresenceEvents>(name: Name, handler: (...args: PresenceEvents[Name]) => void): Off {
    return this.#events.on(name, handler);
  }

  /** What is known, as the server would say it to somebody who joins. */
  get known(): Known {
    return this.#members ? { members: this.members } : this.#count === undefined ? {} : { count: this.#count };
  }

  take({ members, joined = [], left = [], count }: PresenceNews): void {
    if (members) {
      this.#become(new Map(members.map((member) => [member.id, member])));
    } else if (count !== undefined) {
      this.#become(undefined, count);
    } else if (this.#members) {
      const after = new Map(this.#members);
      for (const id of left) after.delete(id);
      for (const member of joined) after.set(member.id, member);
      this.#become(after);
    }
  }

  /** It is over: nobody is known to be here. */
  clear(): void {
    this.#become(undefined);
  }

  #become(after: ReadonlyMap<string, Member> | undefined, count = after?.size): void {
    const before = this.#members;
    const came = before && after ? [...after.values()].filter(({ id }) => !before.has(id)) : [];
    const went = before && after ? [...before.values()].filter(({ id }) => !after.has(id)) : [];
    const same = before && after ? [...after].every(([id, member]) => alike(before.get(id), member)) : before === after;
    if (same && went.length === 0 && count === this.#count) return;
    this.#members = after;
    this.#count = count;
    for (const member of went) this.#events.emit("left", member);
    for (const member of came) this.#events.emit("joined", member);
    this.#events.emit("change", this.members);
  }
}

function alike(one: Member | undefined, other: Member): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

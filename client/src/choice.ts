import { Attempt, probe, type Candidate } from "./attempt.js";
import type { Cancel, Clock } from "./clock.js";
import type { Memory } from "./memory.js";
import type { Transport, TransportListener } from "./transport.js";
import { onWake, type WakeSource } from "./wake.js";

export interface ChoiceSettings {
  readonly clock: Clock;
  readonly page: WakeSource;
  readonly memory: Memory;
  /** Milliseconds that an attempt may take, all candidates together. */
  readonly connectTimeout: number;
  /** The best one first. */
  readonly candidates: readonly Candidate[];
}

/** Milliseconds from one try of a better transport to the next: at first, at most, and at least when the network has changed. */
const RISE = { first: 60_000, most: 1_800_000, least: 15_000 };

/** A connection that lasted so many milliseconds shows that its transport works. */
const STABLE = 10_000;

/** After so many connections in a row that broke sooner, the transport counts as blocked. */
const SHORT = 3;

/**
 * Chooses the transport of the next connection. One attempt tries one candidate after the other until one reaches the server. So a
 * worse one is chosen only where the better ones failed moments before while the same server answered: a server that is down
 * proves nothing.
 */
export class Choice {
  readonly #settings: ChoiceSettings;
  readonly #memory: Memory;
  /** The place of the best candidate that may get through. */
  #best = 0;
  /** How many connections of the best candidate in a row were short. */
  #short = 0;
  #wait = RISE.first;
  /** When a better candidate was last seen to fail. */
  #triedAt = -Infinity;

  constructor(settings: ChoiceSettings) {
    this.#settings = settings;
    this.#memory = settings.memory;
    const note = this.#memory.read(settings.clock.now());
    this.#best = Math.max(0, settings.candidates.findIndex(({ name }) => name === note?.name));
    if (note) this.#triedAt = note.at;
  }

  open(url: string, listener: TransportListener): Transport {
    const { candidates, clock, connectTimeout } = this.#settings;
    const from = this.#best;
    const limit = connectTimeout / candidates.length;
    return new Attempt({ clock, url, limit, candidates: candidates.slice(from) }, listener, {
      settled: (place, attempt) => {
        this.#settled(from, from + place, url, attempt);
      },
      failed: () => {
        this.#best = 0;
      },
      ended: (place, ms) => {
        this.#ended(from + place, ms);
      },
    });
  }

  #settled(from: number, place: number, url: string, attempt: Attempt): void {
    this.#best = place;
    if (place > from) this.#proved(place);
    if (place) attempt.until(this.#rise(place, url, attempt));
  }

  /** The better candidates have just failed. */
  #proved(place: number): void {
    const now = this.#settings.clock.now();
    this.#triedAt = now;
    this.#memory.write({ name: this.#settings.candidates[place]?.name ?? "", at: now });
  }

  #ended(place: number, ms: number): void {
    if (ms >= STABLE) {
      this.#short = 0;
      if (!place) this.#wait = RISE.first;
    } else if (!place && ++this.#short >= SHORT && this.#settings.candidates.length > 1) {
      this.#short = 0;
      this.#best = 1;
      this.#proved(1);
    }
  }

  /** Try the candidates before `place` again and again while `attempt` lasts. Returns what stops it. */
  #rise(place: number, url: string, attempt: Attempt): Cancel {
    const { clock, page } = this.#settings;
    let cancelTimer: Cancel | undefined;
    let stopProbe: Cancel | undefined;
    const plan = (): void => {
      cancelTimer = clock.after(Math.max(1_000, this.#triedAt + this.#wait - clock.now()), tryNow);
    };
    const tryNow = (): void => {
      cancelTimer?.();
      stopProbe ??= this.#probe(0, place, url, attempt, () => {
        stopProbe = undefined;
        this.#wait = Math.min(this.#wait * 2, RISE.most);
        this.#proved(place);
        plan();
      });
    };
    const stopWaking = onWake(page, () => {
      if (clock.now() - this.#triedAt >= RISE.least) tryNow();
    });
    plan();
    return () => {
      stopWaking();
      cancelTimer?.();
      stopProbe?.();
    };
  }

  /** Try the candidates from `next` up to `place`, one after the other. */
  #probe(next: number, place: number, url: string, attempt: Attempt, failed: () => void): Cancel {
    const { candidates, clock, connectTimeout } = this.#settings;
    const candidate = candidates[next];
    if (!candidate || next >= place) {
      failed();
      return () => undefined;
    }
    let stop: Cancel;
    stop = probe(candidate, attempt.hello, { clock, url, limit: connectTimeout }, (through) => {
      if (!through) {
        stop = this.#probe(next + 1, place, url, attempt, failed);
        return;
      }
      this.#best = next;
      if (next) this.#proved(next);
      else this.#memory.write(undefined);
      attempt.leave(`${candidate.name} gets through`);
    });
    return () => {
      stop();
    };
  }
}

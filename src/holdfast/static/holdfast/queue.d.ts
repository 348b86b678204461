/* Holdfast, BSD-3-Clause. Built from client/ */

/**
 * Persistent queue of calls: a call without an answer survives a reload of the page, and the next page makes it again.
 *
 *     import { CallQueue } from "holdfast/queue";
 *     const queue = new CallQueue(live, { user: "7", storage: "local", restored: ({ payload, result }) => … });
 *     await queue.call(room, "post", { body: "hi" });
 *
 * It is no part of the client because most pages do without it, and uses nothing of the client but what any page can use.
 */
import type { ActionsOf, Live, PayloadOf, ResultOf, Topic, TopicTypes } from "./holdfast.js";
export interface CallQueueOptions {
    /**
     * The id of the user that the page was rendered for; null for an anonymous user. Calls are made only while the server
     * says the same, and are rejected with `user_changed` otherwise.
     */
    readonly user: string | number | null;
    /**
     * `session` (the default): `sessionStorage`, which survives a reload. `local`: `localStorage`, which also survives the
     * end of the tab, and which all tabs of the site share.
     */
    readonly storage?: "session" | "local" | undefined;
    /** Distinguishes queues of one site from each other; default: `holdfast`. */
    readonly name?: string | undefined;
    /** Called for each call that an earlier page has left, before it is made again. */
    readonly restored?: ((call: RestoredCall) => void) | undefined;
}
/** A call that an earlier page has left. */
export interface RestoredCall {
    readonly topic: string;
    readonly name: string;
    readonly payload: unknown;
    /** When it was made. */
    readonly at: Date;
    readonly result: Promise<unknown>;
}
export interface QueuedCallOptions {
    /** Takes the call out of the queue when aborted; it may have been carried out. */
    readonly signal?: AbortSignal | undefined;
}
/**
 * Calls that are kept until they are answered. The calls of one topic are made one after the other, in the order in
 * which they were written; those that hit a limit are made again. Each is carried out once, however many pages made it:
 * its key goes with it. Keys of anonymous users do not outlive their page, so a call of theirs that may have been sent is
 * rejected with `outcome_unknown` on the next one.
 *
 * A connection that the server closed for good leaves calls waiting for `live.reconnect()` or for the next page.
 * `live.close()` rejects them with `closed` and leaves them to the next page.
 */
export declare class CallQueue {
    #private;
    constructor(live: Live, { user, storage, name, restored }: CallQueueOptions);
    /** Keep the call, make it as soon as its turn has come, and return its result. The payload is fixed now. */
    call<Types extends TopicTypes, Name extends keyof ActionsOf<Types> & string>(topic: Topic<Types>, name: Name, ...args: [...payload: PayloadOf<ActionsOf<Types>[Name]>, options?: QueuedCallOptions | undefined]): Promise<ResultOf<ActionsOf<Types>[Name]>>;
}

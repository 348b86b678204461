/* Holdfast, BSD-3-Clause. Built from client/ */

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
import type { Clock, LiveError, Off, Store, Topic, TopicTypes } from "./holdfast.js";
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
/**
 * Keeps a document the same as on the server and on all other pages. It sends the changes of this page one after the other,
 * those made in between together, and those made while the connection is away when it is back. Whatever was lost on
 * either side, after each fetch of the server's state this page sends what that lacks.
 */
export declare class YjsProvider<Types extends TopicTypes = TopicTypes> implements Store<YjsState> {
    #private;
    readonly topic: Topic<Types>;
    readonly doc: Y.Doc;
    readonly awareness: Awareness;
    /**
     * Settles when the document has the server's state for the first time: the one that the page came with (`{% live_document %}`),
     * or else the one that the first join brings.
     */
    readonly whenSynced: Promise<void>;
    constructor(topic: Topic<Types>, doc: Y.Doc, { interval, clock }?: YjsProviderOptions);
    get state(): YjsState;
    get synced(): boolean;
    readonly subscribe: (listener: () => void) => Off;
    /**
     * End it: the document is not changed any more, and no cursor shown. What is unsent still goes out; the promise settles when
     * it has, or when it cannot. The topic is the caller's to leave, after that.
     */
    destroy(): Promise<void>;
}

/* Holdfast, BSD-3-Clause. Built from client/ */

/**
 * Binding of a text of Yjs to a `<textarea>`: what is typed goes into the document, and what others type comes out of it, with
 * the cursor where it was.
 *
 *     import { bindTextarea } from "holdfast/textarea";
 *     const binding = bindTextarea(doc.getText("text"), textarea, { awareness: provider.awareness });
 *
 * Undo takes back what this page did, and nothing of the others.
 */
import * as Y from "yjs";
import type { Off } from "./holdfast.js";
import type { Awareness, EditorState } from "./yjs.js";
export interface TextareaOptions {
    /** Shows the others this page's cursor and selection, and this page theirs. */
    readonly awareness?: Awareness | undefined;
}
/** The cursor or selection of another editor, in characters of the text; `head` is the end that moves. */
export interface OtherCursor {
    readonly client: number;
    readonly user: EditorState;
    readonly anchor: number;
    readonly head: number;
}
export interface TextareaBinding {
    readonly undo: Y.UndoManager;
    /** Where the others are now. Ask again when the text or the awareness changes. */
    cursors(): OtherCursor[];
    readonly destroy: Off;
}
type Delta = readonly {
    readonly retain?: number;
    readonly insert?: unknown;
    readonly delete?: number;
}[];
/** Replaces `removed` characters after `start` by `inserted`. */
interface Change {
    readonly start: number;
    readonly removed: number;
    readonly inserted: string;
}
export declare function bindTextarea(text: Y.Text, element: HTMLTextAreaElement, { awareness }?: TextareaOptions): TextareaBinding;
/** The change that makes `after` of `before`. The cursor, which stands behind what was typed, tells apart equal characters. */
export declare function difference(before: string, after: string, caret: number): Change;
/** The index after a change by others. Text that they insert at the index comes behind it. */
export declare function moved(index: number, delta: Delta): number;
export {};

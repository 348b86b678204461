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

import type { Off } from "./index.js";
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

type Delta = readonly { readonly retain?: number; readonly insert?: unknown; readonly delete?: number }[];

/** The first index, and the one behind the last. */
type Range = readonly [number, number];

/** Replaces `removed` characters after `start` by `inserted`. */
interface Change {
  readonly start: number;
  readonly removed: number;
  readonly inserted: string;
}

export function bindTextarea(text: Y.Text, element: HTMLTextAreaElement, { awareness }: TextareaOptions = {}): TextareaBinding {
  const end = new AbortController();
  const { signal } = end;
  const origin = { element };
  const undo = new Y.UndoManager(text, { trackedOrigins: new Set([origin]) });
  let shown = "";
  let composing = false;
  /** What others wrote while an input method composes: a change of the value would interrupt it. */
  let held: Delta[] = [];

  const focused = (): boolean => element.ownerDocument.activeElement === element;

  function show(place: (index: number) => number): void {
    const { selectionStart, selectionEnd, selectionDirection, scrollTop } = element;
    if (!element.readOnly) removeCarriageReturns(text, origin);
    element.value = text.toJSON();
    shown = element.value;
    if (!focused()) return; // to set a selection would take the focus in some browsers
    element.setSelectionRange(place(selectionStart), place(selectionEnd), selectionDirection);
    element.scrollTop = scrollTop;
  }

  function typed(): void {
    if (composing) return;
    const { start, removed, inserted } = difference(shown, element.value, element.selectionEnd);
    const from = held.reduce(moved, start);
    const replaced = held.reduce((ranges, delta) => ranges.flatMap((range) => kept(range, delta)), [[start, start + removed] as Range]);
    shown = element.value;
    if (removed || inserted) {
      text.doc?.transact(() => {
        for (const [first, end] of replaced.reverse()) text.delete(first, end - first);
        text.insert(from, inserted);
      }, origin);
    }
    if (!held.length) return;
    held = [];
    show(() => from + inserted.length);
  }

  function changed({ delta }: Y.YTextEvent, { origin: by }: Y.Transaction): void {
    if (by === origin) return;
    if (composing) held.push(delta as Delta);
    else if (by === undo) show(() => endOf(delta as Delta));
    else show((index) => moved(index, delta as Delta));
  }

  function selected(): void {
    const { selectionStart, selectionEnd, selectionDirection } = element;
    const ends = selectionDirection === "backward" ? [selectionEnd, selectionStart] : [selectionStart, selectionEnd];
    const [anchor, head] = ends.map((index) => Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, index)) as object);
    const cursor = focused() ? { anchor, head } : null;
    if (JSON.stringify(awareness?.getLocalState()?.["cursor"]) !== JSON.stringify(cursor)) {
      awareness?.setLocalStateField("cursor", cursor);
    }
  }

  function key(event: KeyboardEvent): void {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const name = event.key.toLowerCase();
    if (name !== "z" && name !== "y") return;
    event.preventDefault();
    if (name === "z" && !event.shiftKey) undo.undo();
    else undo.redo();
  }

  /** Undo by a menu or a gesture. */
  function before(event: InputEvent): void {
    if (!event.inputType.startsWith("history")) return;
    event.preventDefault();
    if (event.inputType === "historyUndo") undo.undo();
    else undo.redo();
  }

  text.observe(changed);
  show((index) => index);
  element.addEventListener("input", typed, { signal });
  element.addEventListener("compositionstart", () => (composing = true), { signal });
  element.addEventListener("compositionend", () => { composing = false; typed(); }, { signal });
  element.addEventListener("keydown", key, { signal });
  element.addEventListener("beforeinput", before, { signal });
  if (awareness) {
    element.ownerDocument.addEventListener("selectionchange", selected, { signal });
    for (const name of ["focus", "blur", "input", "keyup", "pointerup"]) element.addEventListener(name, selected, { signal });
  }

  return {
    undo,
    cursors: () => (awareness ? cursorsOf(text, awareness) : []),
    destroy: () => {
      end.abort();
      text.unobserve(changed);
      undo.destroy();
    },
  };
}

function cursorsOf(text: Y.Text, awareness: Awareness): OtherCursor[] {
  const { doc } = text;
  if (!doc) return [];
  const place = (position: unknown): number | undefined => {
    const found = position ? Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(position), doc) : null;
    return found?.type === text ? found.index : undefined;
  };
  return [...awareness.getStates()].flatMap(([client, state]) => {
    try {
      const cursor = state["cursor"] as { readonly anchor: unknown; readonly head: unknown } | null | undefined;
      const [anchor, head] = [place(cursor?.anchor), place(cursor?.head)];
      if (client === awareness.clientID || anchor === undefined || head === undefined) return [];
      return [{ client, user: (state["user"] ?? {}) as EditorState, anchor, head }];
    } catch {
      return []; // another page may send what it wants
    }
  });
}

/** The change that makes `after` of `before`. The cursor, which stands behind what was typed, tells apart equal characters. */
export function difference(before: string, after: string, caret: number): Change {
  const shorter = Math.min(before.length, after.length);
  let suffix = 0;
  while (suffix < Math.min(shorter, after.length - caret) && before.at(-1 - suffix) === after.at(-1 - suffix)) suffix++;
  let prefix = 0;
  while (prefix < shorter - suffix && before[prefix] === after[prefix]) prefix++;
  // A character of two code units is one: Yjs replaces halves.
  if (suffix && isLow(before, before.length - suffix)) suffix--;
  if (prefix && isLow(before, prefix) && isLow(after, prefix)) prefix--;
  return { start: prefix, removed: before.length - prefix - suffix, inserted: after.slice(prefix, after.length - suffix) };
}

function isLow(text: string, index: number): boolean {
  const code = text.charCodeAt(index);
  return code >= 0xdc00 && code < 0xe000;
}

/** The index after a change by others. Text that they insert at the index comes behind it. */
export function moved(index: number, delta: Delta): number {
  let at = 0;
  for (const { retain = 0, insert, delete: removed = 0 } of delta) {
    if (at > index) break;
    const length = typeof insert === "string" ? insert.length : 0;
    if (at < index) index = Math.max(at, index + length - removed);
    at += retain + length;
  }
  return index;
}

/** Where the characters of a range are after a change by others. What they inserted in between is not among them. */
function kept([start, end]: Range, delta: Delta): Range[] {
  const found: Range[] = [];
  let [old, now] = [0, 0];
  for (const { retain = 0, insert, delete: removed = 0 } of [...delta, { retain: Infinity } as Delta[number]]) {
    const [first, last] = [Math.max(start, old), Math.min(end, old + retain)];
    if (first < last) found.push([first - old + now, last - old + now]);
    old += retain + removed;
    now += retain + (typeof insert === "string" ? insert.length : 0);
  }
  return found;
}

/** The end of the last thing that a change inserted, or where it deleted something. */
function endOf(delta: Delta): number {
  return delta.reduce((at, { retain = 0, insert }) => at + retain + (typeof insert === "string" ? insert.length : 0), 0);
}

/** A textarea has none, so the places in it would not be those in the text. */
function removeCarriageReturns(text: Y.Text, origin: unknown): void {
  const found = text.toJSON();
  if (!found.includes("\r")) return;
  text.doc?.transact(() => {
    for (let at = found.lastIndexOf("\r"); at >= 0; at = at ? found.lastIndexOf("\r", at - 1) : -1) text.delete(at, 1);
  }, origin);
}

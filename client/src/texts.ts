/**
 * Sentences for the codes of errors, for developers: what happened, and for some what to do. They are no part of the client
 * because most pages never show them.
 *
 *     import { textOf } from "holdfast/texts";
 *     room.ready.catch((error) => console.warn(textOf(error)));
 */

import { MESSAGES } from "./codes.js";
import { wordsOf, type ErrorCode, type LocalCode } from "./errors.js";

const LOCAL: Readonly<Record<LocalCode, string>> = {
  closed: "The client was closed.",
  connection_lost: "The connection was lost.",
  connect_timeout: "The server did not answer in time.",
  invalid_url: "No connection can be made to this URL.",
  left: "The topic was left.",
  no_websocket: "There is no WebSocket here: pass one as options.WebSocket.",
  queue_full: "Too many calls are waiting for a connection.",
  user_changed: "The user is another one than when the call was made.",
};

const TEXTS: Readonly<Partial<Record<string, string>>> = { ...MESSAGES, ...LOCAL };

/** What an error means: its own message where that says more than the code, else the sentence for the code. */
export function textOf({ code, message }: { readonly code: ErrorCode; readonly message: string }): string {
  return message === wordsOf(code) ? (TEXTS[code] ?? message) : message;
}

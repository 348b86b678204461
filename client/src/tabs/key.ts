import { ask, type Asked } from "../connection.js";
import { report } from "../dispatch.js";

export interface KeySettings {
  readonly identity: Asked<string | undefined>;
  readonly transports: readonly string[] | undefined;
}

/** What a tab says when it connects, as far as it decides with which tabs it shares. */
export interface Greeting {
  readonly url: string;
  readonly protocols: readonly string[];
  readonly token: string | undefined;
}

/** Tabs that run another version of this code have other messages, so they do not share. */
const VERSION = "holdfast tabs 1";

/**
 * The name of the group of tabs that may share a connection; undefined if this tab may not share. Tabs of one group have the same
 * URL, the same subprotocols, and are the same to the server:
 *
 * - what the page says (`identity`), which is the application's own promise;
 * - else, with a token, the token itself;
 * - else what the server wrote into the page: a keyed hash of the session and its user (`{% live_script tabs=True %}`).
 */
export async function groupOf({ identity, transports }: KeySettings, { url, protocols, token }: Greeting): Promise<string | undefined> {
  const said = await ask(identity);
  const who = said !== undefined ? ["said", said] : token !== undefined ? ["token", await digest(token)] : written();
  return who && JSON.stringify([VERSION, url, protocols, transports ?? null, token !== undefined, ...who]);
}

/** Names of locks and channels are visible to every script of the site; tokens are not. */
async function digest(token: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function written(): readonly string[] | undefined {
  const { document } = globalThis as { readonly document?: Document };
  try {
    // Turbo puts what a visited page has in its head behind what is there already, so the last one is the present page's.
    const found = document && [...document.querySelectorAll("script#holdfast-config")].at(-1);
    const config = JSON.parse(found?.textContent ?? "{}") as { readonly tabs?: unknown };
    return typeof config.tabs === "string" ? ["page", config.tabs] : undefined;
  } catch (error) {
    report(error);
    return undefined;
  }
}

import { asPosition, type Position } from "./position.js";
import { report } from "./emitter.js";

/** What the Django templates put into the page for the client: `{% live_script %}` and the cursor tag. */

const DEFAULT_URL = "/live/ws";

/** Neither exists in Node, whatever the types of the browser say. */
const page = globalThis as { readonly document?: Document; readonly location?: Location };

/** The endpoint that the page names, or the default. */
export function pageUrl(): string {
  const config = read("script#holdfast-config");
  return typeof config === "object" && config !== null && "url" in config ? String(config.url) : DEFAULT_URL;
}

/** Where the page was rendered in a topic's log, if it says so. */
export function pageCursor(topic: string): Position | undefined {
  const cursor = read(`script[data-holdfast-cursor=${JSON.stringify(topic)}]`);
  try {
    return cursor === undefined ? undefined : asPosition(cursor);
  } catch (error) {
    report(error);
    return undefined;
  }
}

/** What relative addresses are relative to now; `history.pushState` changes it. */
export function pageBase(): string | undefined {
  return page.document?.baseURI ?? page.location?.href;
}

/** The WebSocket URL for an address as one writes it in a page. */
export function webSocketUrl(url: string, base: string | undefined): string {
  const absolute = new URL(url, base);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  return absolute.href;
}

function read(selector: string): unknown {
  const text = page.document?.querySelector(selector)?.textContent;
  try {
    return text ? JSON.parse(text) : undefined;
  } catch (error) {
    report(error);
    return undefined;
  }
}

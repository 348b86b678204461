import { asPosition, type Position } from "./position.js";
import { report } from "./dispatch.js";

/** Values that the Django templates put into the page for the client: `{% live_script %}` and the cursor tag. */

const DEFAULT_URL = "/live/ws";

/** Neither exists in Node, whatever the types of the browser say. */
const page = globalThis as { readonly document?: Document; readonly location?: Location };

/** The endpoint that the page names, or the default. */
export function pageUrl(): string {
  return read(find("script#holdfast-config"), (config) => (config as { readonly url?: string } | null)?.url) ?? DEFAULT_URL;
}

/**
 * Makes a reader of the page's cursors: where the page was rendered in a topic's log, if it says so. It returns each
 * cursor once. The page has moved on afterwards, until Turbo, htmx or the like put another element, or another
 * position, in its place.
 */
export function pageCursors(): (topic: string) => Position | undefined {
  const used = new WeakMap<Element, string | null>();
  return (topic) => {
    const element = find(`script[data-holdfast-cursor=${JSON.stringify(topic)}]`);
    if (!element || used.get(element) === element.textContent) return undefined;
    used.set(element, element.textContent);
    return read(element, asPosition);
  };
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

function find(selector: string): Element | null | undefined {
  return page.document?.querySelector(selector);
}

function read<Value>(element: Element | null | undefined, check: (value: unknown) => Value): Value | undefined {
  const text = element?.textContent;
  try {
    return text ? check(JSON.parse(text)) : undefined;
  } catch (error) {
    report(error);
    return undefined;
  }
}

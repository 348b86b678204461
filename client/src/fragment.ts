import { htmx, swapByHtmx } from "./htmx.js";
import { idOf, keepingFocus, morph, place, remove } from "./morph.js";

/** The payload of an event `holdfast.html`. */
export interface Fragment {
  /** The id of an element. */
  readonly target: string;
  readonly swap: "morph" | "replace" | "update" | "append" | "prepend" | "before" | "after" | "remove";
  readonly html: string;
}

type Morph = (from: Element, to: Element) => unknown;

let morphing: Morph = morph;

/** Let another function make one element equal to another. */
export function morphBy(given: Morph): void {
  morphing = given;
}

/** Make an element of the page equal to another one. */
export function morphInto(from: Element, to: Element): void {
  keepingFocus(() => morphing(from, to));
  htmx()?.process(from);
}

/** The fragments in the result of a topic's `snapshot`; undefined if it is anything else. */
export function fragmentsIn(value: unknown): readonly Fragment[] | undefined {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  return all.length && all.every(isFragment) ? all : undefined;
}

function isFragment(value: unknown): value is Fragment {
  const { target, swap, html } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return typeof target === "string" && typeof swap === "string" && typeof html === "string";
}

/** Nodes of a text, in no page. Scripts are left out: none that comes later than the page runs. */
export function parse(html: string): DocumentFragment {
  const template = document.createElement("template");
  template.innerHTML = trusted(html);
  for (const script of template.content.querySelectorAll("script")) {
    if (/^$|javascript|module/i.test(script.type)) script.remove();
  }
  return template.content;
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createHTML(html: string): string }): { createHTML(html: string): string };
}

let policy: { createHTML(html: string): string } | undefined;

/** Where the page demands trusted types, it allows the policy `holdfast`. */
function trusted(html: string): string {
  const { trustedTypes } = globalThis as { readonly trustedTypes?: TrustedTypes };
  policy ??= trustedTypes?.createPolicy("holdfast", { createHTML: (text) => text });
  return policy?.createHTML(html) ?? html;
}

/** Put a fragment where it belongs. `byHtmx`: by htmx, with its classes and transitions, where it does the same. */
export function apply(element: Element, { swap, html }: Fragment, byHtmx: boolean): void {
  const content = parse(html);
  const [only] = content.children;
  if (swap === "morph" && only && content.children.length === 1) morphInto(element, only);
  else if (swap === "remove") remove(element);
  else if (!byHtmx || hasKnown(content) || !swapByHtmx(element, swap, content)) {
    const put = keepingFocus(() => swapped(element, swap, content));
    for (const each of put) htmx()?.process(each);
  }
}

/** Swap, and return the elements that are in the page by it. */
function swapped(element: Element, swap: Fragment["swap"], content: DocumentFragment): readonly Element[] {
  switch (swap) {
    case "append":
      return putIn(element, content, null);
    case "prepend":
      return putIn(element, content, element.firstChild);
    case "before":
      return putIn(element.parentNode, content, element);
    case "after":
      return putIn(element.parentNode, content, element.nextSibling);
    case "morph":
    case "remove":
    case "replace":
    case "update": {
      const own = document.importNode(content, true);
      const elements = [...own.children];
      if (swap === "update") element.replaceChildren(own);
      else element.replaceWith(own);
      return elements;
    }
  }
}

/** Put nodes in front of another one. An element whose id the page has already takes that element's place there. */
function putIn(parent: Node | null, content: DocumentFragment, next: ChildNode | null): readonly Element[] {
  if (!parent) return [];
  return [...content.childNodes].flatMap((node) => {
    const known = knownAs(node);
    if (!known || known.contains(parent)) {
      const own = parent.insertBefore(document.importNode(node, true), next);
      return own instanceof Element ? [own] : [];
    }
    if (known === next) next = known.nextSibling;
    else if (known.parentNode !== parent || known.nextSibling !== next) place(parent, known, next);
    morphInto(known, node as Element);
    return [];
  });
}

function hasKnown(content: DocumentFragment): boolean {
  return [...content.children].some(knownAs);
}

function knownAs(node: Node): Element | null {
  const id = idOf(node);
  return id ? document.getElementById(id) : null;
}

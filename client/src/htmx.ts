/** htmx, if the page has it: it sees to what is inserted, and may insert it itself. */

interface Htmx {
  process(element: Element): void;
  readonly swap?: (target: Element, html: string, how: object) => void;
  readonly defineExtension?: (name: string, extension: object) => void;
}

export function htmx(): Htmx | undefined {
  return (globalThis as { readonly htmx?: Htmx }).htmx;
}

/** htmx's names. It morphs by an extension only, so that stays ours. */
const STYLES: Readonly<Partial<Record<string, string>>> = {
  replace: "outerHTML",
  update: "innerHTML",
  append: "beforeend",
  prepend: "afterbegin",
  before: "beforebegin",
  after: "afterend",
};

/** Let htmx swap, with its classes, settling and transitions. Returns false if it cannot. */
export function swapByHtmx(target: Element, swap: string, content: DocumentFragment): boolean {
  const swapStyle = STYLES[swap];
  const by = htmx();
  if (!by?.swap || !swapStyle) return false;
  const holder = document.createElement("template");
  holder.content.append(document.importNode(content, true));
  by.swap(target, holder.innerHTML, { swapStyle, swapDelay: 0, settleDelay: 20 });
  return true;
}

/** Call `appeared` for each element with one of these attributes that htmx finds below `hx-ext="live"`, and `left` at its end. */
export function extendHtmx(attribute: string, appeared: (element: Element) => void, left: (element: Element) => void): void {
  const extend = (): void => {
    const by = htmx();
    if (by && !by.defineExtension && document.querySelector(`[${attribute}]`)) {
      console.warn(`Holdfast: the attribute ${attribute} needs htmx 2. With htmx 4 write a <live-topic name="…"> element instead.`);
    }
    by?.defineExtension?.("live", {
      getSelectors: () => [`[${attribute}]`],
      onEvent: (name: string, { target }: Event) => {
        if (!(target instanceof Element) || !target.hasAttribute(attribute)) return;
        if (name === "htmx:afterProcessNode") appeared(target);
        if (name === "htmx:beforeCleanupElement") left(target);
      },
    });
  };
  if (htmx()) extend();
  else addEventListener("DOMContentLoaded", extend, { once: true });
  if (document.readyState === "complete") htmx()?.process(document.body);
}

/**
 * Morph: makes one element equal to another with as few changes as possible. What is equal already is left alone, with
 * its focus, selection, scroll position and typed text.
 */

/** Elements whose old contents stay as they are: a map, an editor, a video. */
const KEEP = "live-keep";
/** Names an element among its siblings, where an id for the whole page is too much. */
const KEY = "live-key";

/** Attributes that the page sets itself. The server's rendering says nothing about them. */
const OWN = ["details open", "dialog open", "live-topic status", "live-topic aria-busy"];

/**
 * Make `from` equal to `to`, which is not changed. Returns the element that is in the page then: `from`, unless the two
 * are of different kinds.
 *
 * An element with an id stays the same element, wherever in `to` that id is. Others are matched with siblings of the same kind.
 * Text that a user has typed, choices that they have made, and `<details>` that they have opened stay.
 */
export function morph(from: Element, to: Element): Element {
  return keepingFocus(() => new Morph(from, to).run());
}

/** Run a change of the page. An element that has the focus before has it afterwards, if it is still there. */
export function keepingFocus<Value>(change: () => Value): Value {
  const active = document.activeElement as HTMLInputElement | null;
  const { selectionStart, selectionEnd, selectionDirection } = active ?? {};
  const value = change();
  if (active?.isConnected && active !== document.activeElement) {
    active.focus({ preventScroll: true });
    if (typeof selectionStart === "number") active.setSelectionRange(selectionStart, selectionEnd ?? null, selectionDirection ?? undefined);
  }
  return value;
}

/** Put a node into a place. Browsers that can move it without loading frames again, or losing the focus, do that. */
export function place(parent: Node, node: Node, next: Node | null): void {
  const moving = parent as Node & { readonly moveBefore?: (node: Node, next: Node | null) => void };
  if (moving.moveBefore && node.isConnected && parent.isConnected) moving.moveBefore(node, next);
  else parent.insertBefore(node, next);
}

class Morph {
  readonly #from: Element;
  readonly #to: Element;
  /** Old elements by the new ones with the same id. */
  readonly #pairs = new Map<Node, Element>();
  readonly #paired: ReadonlySet<Node>;
  /** Elements to be removed once all that is inside and still needed has left. */
  readonly #late: ChildNode[] = [];

  constructor(from: Element, to: Element) {
    this.#from = from;
    this.#to = to;
    const wanted = byId(to);
    for (const [id, old] of byId(from)) {
      const fresh = wanted.get(id);
      if (fresh && kind(fresh) === kind(old)) this.#pairs.set(fresh, old);
    }
    this.#paired = new Set(this.#pairs.values());
  }

  run(): Element {
    const from = this.#from;
    const to = this.#to;
    const chosen = radiosOf(from);
    const partner = this.#pairs.get(to) ?? (this.#paired.has(from) || kind(from) !== kind(to) ? undefined : from);
    const result = partner ?? this.#make(to);
    if (result !== from && from.parentNode) {
      place(from.parentNode, result, from);
      if (!this.#paired.has(from)) this.#late.push(from);
    }
    this.#sync(result, to);
    for (const node of this.#late) remove(node);
    for (const { radio, value } of chosen) if (radio.isConnected && radio.value === value) radio.checked = true;
    return result;
  }

  #sync(old: Node, fresh: Node): void {
    if (!isElement(old) || !isElement(fresh)) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute(KEEP) || equal(old, fresh)) return;
    const settle = fieldOf(old);
    syncAttributes(old, fresh);
    this.#children(old, fresh);
    if (isTemplate(old) && isTemplate(fresh)) this.#children(old.content, fresh.content);
    settle?.();
  }

  #children(parent: Node, fresh: Node): void {
    const news = [...fresh.childNodes];
    const olds = [...parent.childNodes];
    const found = this.#match(olds, news);
    const matched = new Set<Node | undefined>(found);
    for (const old of olds) {
      if (matched.has(old) || this.#paired.has(old)) continue;
      if (this.#needed(old, this.#paired)) this.#late.push(old);
      else remove(old);
    }
    const stays = staying(found, olds);
    const here = news.map((fresh, index) => ({ fresh, node: found[index] ?? this.#make(fresh) }));
    let next: Node | null = null;
    for (const { node } of [...here].reverse()) {
      if (!stays.has(node)) place(parent, node, next);
      next = node;
    }
    for (const { node, fresh: wanted } of here) this.#sync(node, wanted);
  }

  /** The old node for each new one, where there is one. */
  #match(olds: readonly ChildNode[], news: readonly ChildNode[]): (Node | undefined)[] {
    const found: (Node | undefined)[] = news.map((fresh) => this.#pairs.get(fresh));
    const free = new Set<Node>(olds.filter((old) => !this.#paired.has(old) && !idOf(old)));
    const open = (index: number): boolean => index in news && !found[index] && !idOf(news[index] as Node);
    const take = (index: number, old: Node | undefined): boolean => !!old && free.delete(old) && !!(found[index] = old);
    const alike = (index: number, old: Node | undefined): boolean =>
      open(index) && !!old && free.has(old) && equal(old, news[index] as Node);

    // Skip equal siblings at both ends: most changes add or remove one of many.
    for (let at = 0; found[at] === olds[at] ? at in news : alike(at, olds[at]) && take(at, olds[at]); at++);
    for (let at = news.length - 1, old = olds.length - 1; at >= 0 && old >= 0; at--, old--) {
      if (found[at] !== olds[old] && !(alike(at, olds[old]) && take(at, olds[old]))) break;
    }
    // Those with a key, and those around elements with an id that both have.
    const keyed = new Map<string, Node>();
    const around = new Map<Node, Node>();
    for (const old of free) {
      const key = keyOf(old);
      if (key) keyed.set(key, old);
      else if (this.#pairs.size) for (const inner of idsIn(old)) around.set(inner, old);
    }
    for (const [index, fresh] of news.entries()) {
      if (!open(index)) continue;
      const key = keyOf(fresh);
      const old = key ? keyed.get(key) : idsIn(fresh).map((inner) => around.get(this.#pairs.get(inner) as Node)).find(Boolean);
      if (old && kind(old) === kind(fresh)) take(index, old);
    }
    // The others in their order, by kind.
    const rest = new Map<string, Node[]>();
    for (const old of [...free].reverse()) if (!keyOf(old)) rest.set(kind(old), rest.get(kind(old)) ?? []).get(kind(old))?.push(old);
    for (const [index, fresh] of news.entries()) {
      if (open(index) && !keyOf(fresh)) take(index, rest.get(kind(fresh))?.pop());
    }
    return found;
  }

  /** A new node. One with elements of the page in it begins without contents, and is filled when it is in its place. */
  #make(fresh: Node): Node & Element {
    return document.importNode(fresh, !this.#needed(fresh, this.#pairs)) as Node & Element;
  }

  #needed(node: Node, those: { readonly size: number; has(node: Node): boolean }): boolean {
    return those.size > 0 && idsIn(node).some((inner) => those.has(inner));
  }
}

/** The nodes that need not move: as many as possible, and the one with the focus in any case. */
function staying(found: readonly (Node | undefined)[], olds: readonly ChildNode[]): ReadonlySet<Node> {
  const places = new Map<Node, number>(olds.map((old, index) => [old, index]));
  let nodes = found.filter((node) => node && places.has(node)) as Node[];
  const at = (node: Node | undefined): number => (node && places.get(node)) ?? 0;
  const focus = nodes.findIndex((node) => node.contains(document.activeElement));
  const focused = nodes[focus];
  if (focused) nodes = nodes.filter((node, index) => index === focus || index < focus === at(node) < at(focused));
  // The longest increasing subsequence (Schensted 1961): `ends[n]` ends the best one of length n + 1.
  const ends: Node[] = [];
  const before = new Map<Node, Node | undefined>();
  for (const node of nodes) {
    let low = 0;
    for (let high = ends.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (at(ends[middle]) < at(node)) low = middle + 1;
      else high = middle;
    }
    before.set(node, ends[low - 1]);
    ends[low] = node;
  }
  const stays = new Set<Node>();
  for (let node = ends.at(-1); node; node = before.get(node)) stays.add(node);
  return stays;
}

/** Where the server's rendering has changed an attribute, it counts. */
function syncAttributes(old: Element, fresh: Element): void {
  const own = (name: string): boolean => OWN.includes(`${old.localName} ${name}`);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  for (const attribute of fresh.attributes) {
    const { name, value } = attribute;
    // A new attribute node, because `setAttribute` refuses names such as `@click`, which the parser takes.
    if (old.getAttribute(name) !== value && !own(name)) old.setAttributeNode(document.importNode(attribute));
  }
}

/**
 * What is to be done with a field when its attributes and contents are new. Without a user's change it shows the new value;
 * with one it keeps that.
 */
function fieldOf(old: Element): (() => void) | undefined {
  const field = old as HTMLInputElement;
  if (old.localName === "select") return selectOf(old as HTMLSelectElement);
  if (old.localName !== "input" && old.localName !== "textarea") return undefined;
  const typed = field.value !== field.defaultValue;
  const checked = field.checked !== field.defaultChecked;
  return () => {
    if (!typed && field.type !== "file" && field.value !== field.defaultValue) field.value = field.defaultValue;
    if (!checked && field.checked !== field.defaultChecked) field.checked = field.defaultChecked;
  };
}

/** The radio buttons that the user has chosen. Each that a morph marks takes the choice from the others of its group. */
function radiosOf(root: Element): readonly { readonly radio: HTMLInputElement; readonly value: string }[] {
  return [...root.querySelectorAll<HTMLInputElement>("input[type=radio]")]
    .filter((radio) => radio.checked && !radio.defaultChecked)
    .map((radio) => ({ radio, value: radio.value }));
}

function selectOf(select: HTMLSelectElement): () => void {
  const values = (selected: (option: HTMLOptionElement) => boolean): string[] =>
    [...select.options].filter(selected).map(({ value }) => value);
  const byDefault = (): string[] => {
    const marked = values(({ defaultSelected }) => defaultSelected);
    return marked.length || select.multiple ? marked : values((option) => option === select.options[0]);
  };
  const chosen = values(({ selected }) => selected);
  const changed = String(chosen) !== String(byDefault());
  return () => {
    const wanted = changed && values(({ value }) => chosen.includes(value)).length ? chosen : byDefault();
    for (const option of select.options) option.selected = wanted.includes(option.value);
  };
}

/** Whether two nodes are equal. `isEqualNode` does not look into templates. */
function equal(old: Node, fresh: Node): boolean {
  return old.isEqualNode(fresh) && !(isElement(fresh) && (isTemplate(fresh) || fresh.querySelector("template")));
}

function byId(root: Element): Map<string, Element> {
  const found = new Map<string, Element>();
  for (const element of [root, ...root.querySelectorAll("[id]")]) {
    const id = idOf(element);
    if (id && !found.has(id)) found.set(id, element);
  }
  return found;
}

function idsIn(node: Node): Element[] {
  return isElement(node) ? [...node.querySelectorAll("[id]")] : [];
}

/** The id of an element. A form with a field that is called `id` has that field as its property `id`. */
export function idOf(node: Node): string {
  return isElement(node) ? (node.getAttribute("id") ?? "") : "";
}

/** Remove a node. A form with a button that is called `remove` has that button in the place of the method. */
export function remove(node: ChildNode): void {
  Element.prototype.remove.call(node);
}

function keyOf(node: Node): string | null {
  return isElement(node) ? node.getAttribute(KEY) : null;
}

function kind(node: Node): string {
  return `${node.nodeName} ${isElement(node) ? node.namespaceURI : ""}`;
}

function isElement(node: Node): node is Element {
  return node.nodeType === 1;
}

function isTemplate(element: Element): element is HTMLTemplateElement {
  return element.localName === "template" && "content" in element;
}

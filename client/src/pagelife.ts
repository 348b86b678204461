/**
 * Detection of pages that are gone: each holds a lock of its own for as long as it lives, and the browser
 * releases it when the page is closed, reloaded or crashes (Web Locks API; in secure contexts only).
 */

const locks = (): LockManager | undefined => (globalThis.navigator as Partial<Navigator> | undefined)?.locks;

/** Whether the browser can tell which pages live. */
export function canTell(): boolean {
  return locks() !== undefined;
}

/** Say that `page` lives, until the function that is returned is called or the browser ends the page. */
export function live(page: string): () => void {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  ignore(locks()?.request(page, async () => ended));
  return end;
}

/** Run once `page` is gone, or soon when the browser cannot tell. Of several pages that wait, one runs at a time. */
export function afterEnd(page: string, run: () => void): void {
  const manager = locks();
  if (manager) ignore(manager.request(page, run));
  else queueMicrotask(run);
}

/** A document that is going away gets no lock any more, and needs none. */
function ignore(request: Promise<unknown> | undefined): void {
  request?.catch(() => undefined);
}

import type { Cancel } from "./clock.js";

/** As much of `window` and `document` as the client listens to. React Native has a `window` without events. */
export interface WakeSource {
  readonly window?: Partial<Pick<EventTarget, "addEventListener">> | undefined;
  readonly document?: (Partial<Pick<EventTarget, "addEventListener">> & { readonly visibilityState: string }) | undefined;
}

/**
 * Calls `wake` when the world has changed so that a connection that is away may come back and one that seems
 * to be there may be gone: the network is back, the tab is looked at, the page came out of the back/forward cache.
 */
export function onWake({ window, document }: WakeSource, wake: () => void): Cancel {
  const visible = (): void => {
    if (document?.visibilityState === "visible") wake();
  };
  const shown = (event: Event): void => {
    if ("persisted" in event && event.persisted) wake();
  };
  const stop = new AbortController();
  const until = { signal: stop.signal };
  window?.addEventListener?.("online", wake, until);
  window?.addEventListener?.("pageshow", shown, until);
  document?.addEventListener?.("visibilitychange", visible, until);
  return () => {
    stop.abort();
  };
}

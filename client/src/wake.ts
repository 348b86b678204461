import type { Cancel } from "./clock.js";

/** As much of `window` and `document` as the client listens to. React Native has a `window` without events. */
export interface WakeSource {
  readonly window?: Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> | undefined;
  readonly document?:
    | (Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> & { readonly visibilityState: string })
    | undefined;
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
  window?.addEventListener?.("online", wake);
  window?.addEventListener?.("pageshow", shown);
  document?.addEventListener?.("visibilitychange", visible);
  return () => {
    window?.removeEventListener?.("online", wake);
    window?.removeEventListener?.("pageshow", shown);
    document?.removeEventListener?.("visibilitychange", visible);
  };
}

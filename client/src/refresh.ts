import { parse } from "./fragment.js";
import type { Member } from "./member.js";

/** Fresh renderings for elements that missed events. Elements that are on one page share a request. */

const waiting = new Map<string, Set<Member>>();

/** Milliseconds until another attempt: they double, up to 30 s, and are spread. */
export function backoff(failures: number): number {
  return Math.min(30_000, 1_000 * 2 ** failures) * (0.5 + Math.random() / 2);
}

export function refreshLater(member: Member, wait: number): void {
  const { url } = member;
  const known = waiting.get(url);
  if (known) {
    known.add(member);
    return;
  }
  waiting.set(url, new Set([member]));
  setTimeout(() => void refresh(url), wait);
}

async function refresh(url: string): Promise<void> {
  const asked = [...(waiting.get(url) ?? [])].map((member) => ({ member, rendering: member.awaitRendering() }));
  waiting.delete(url);
  const wanted = (): Member[] => asked.filter(({ rendering }) => rendering?.wanted).map(({ member }) => member);
  if (!wanted().length) return;
  try {
    // A cache may still have the contents that the page shows already.
    const answer = await fetch(url, { cache: "no-store", credentials: "same-origin", headers: { accept: "text/html" }, signal: AbortSignal.timeout(10_000) });
    const text = await answer.text();
    const page = answer.ok ? parse(text) : undefined;
    const over = answer.status < 500 && answer.status !== 429;
    for (const member of wanted()) {
      if (page) member.render(page);
      else if (over) member.giveUp(`${url} answers ${answer.status}`);
      else member.retry();
    }
  } catch {
    for (const member of wanted()) member.retry();
  }
  for (const { rendering } of asked) rendering?.end();
}

// Times as the reader's own clock and language have them.

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const complete = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

export const timeOf = (date) => clock.format(date);
export const inFull = (date) => complete.format(date);

export function sameDay(one, other) {
  return one.toDateString() === other.toDateString();
}

/** "Today", "Yesterday", "Friday, 3 July", and with the year if it is another one. */
export function nameOfDay(date, now = new Date()) {
  if (sameDay(date, now)) return "Today";
  if (sameDay(date, new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1))) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? day : dayAndYear).format(date);
}

/** "5:18 PM" for today, "3 Jul, 5:18 PM" for another day. */
export const whenOf = (date) => (sameDay(date, new Date()) ? clock : dayAndTime).format(date);

/** The server does not know the reader's clock: show what it wrote as `whenOf`, and in full on demand. */
export function showTimes(elements) {
  for (const time of elements) {
    const date = new Date(time.dateTime);
    if (time.title !== inFull(date)) Object.assign(time, { textContent: whenOf(date), title: inFull(date) });
  }
}

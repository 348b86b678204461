/**
 * Reader of server-sent events (HTML Standard, section 9.2): text in, as it comes, and the data of complete events out.
 * `fetch` is used instead of `EventSource` because that sends no token, hides the status of a refusal, and reconnects by itself.
 */
export class EventReader {
  #rest = "";
  #data: string[] = [];
  /** The last `retry` of the server, in milliseconds. */
  retry: number | undefined;

  /** The data of the events that `text` completes. */
  read(text: string): string[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    const events: string[] = [];
    for (const line of lines) {
      if (line) this.#field(line);
      else if (this.#data.length) events.push(this.#data.splice(0).join("\n"));
    }
    return events;
  }

  #field(line: string): void {
    const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === "data") this.#data.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

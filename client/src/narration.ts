import type { OpenTransport } from "./transport.js";

/** A transport that logs all its messages on the browser's console, without tokens. */
export function narrated(open: OpenTransport): OpenTransport {
  return (url, listener) => {
    const tell = (what: string, ...more: readonly unknown[]): void => {
      console.debug(`Holdfast ${transport.name}: ${what}`, ...more);
    };
    const transport = open(url, {
      opened: () => {
        tell("opened");
        listener.opened();
      },
      received: (data) => {
        tell("←", data);
        listener.received(data);
      },
      closed: (code, reason) => {
        tell(`closed with ${code}`, reason);
        listener.closed(code, reason);
      },
    });
    tell("opening", url.replace(/\?.*/, "?…"));
    return {
      get name() {
        return transport.name;
      },
      send: (text) => {
        tell("→", text.replace(/("token":)"[^"]*"/, '$1"…"'));
        transport.send(text);
      },
      close: (code) => {
        tell(`closing with ${code}`);
        transport.close(code);
      },
    };
  };
}

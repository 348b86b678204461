export interface Room {
  events: {
    "message.posted": { id: number; author: string; body: string };
    typing: { author: string };
  };
  actions: {
    post(payload: { body: string }): number;
    typing(): void;
  };
  meta: { name: string };
  snapshot: { messages: { id: number; body: string }[] };
}

export type Message = Room["snapshot"]["messages"][number];

// Written by `manage.py holdfast schema --format typescript`. Do not edit it: run the command again.

/**
 * One chat room, for its members.
 * Route: `rooms/<slug:room>`.
 */
export interface Room {
  name: `rooms/${string}`;
  events: {
    "message.posted": MessagePosted;
    /** Not stored. */
    typing: Typing;
  };
  actions: {
    /** Say something; returns the message's id. The message and its event are committed together. */
    post(payload: {
      /**
       * @minLength 1
       * @maxLength 2000
       */
      body: string;
    }): number;
    /** Tell the others that the caller is writing. */
    typing(): null;
  };
  meta: Record<string, string>;
  snapshot: undefined;
}

/** Somebody said something; on the wire `message.posted`. */
export interface MessagePosted {
  id: number;
  author: string;
  body: string;
  /** @format date-time */
  at: string;
}

/** Somebody is writing. It passes through and is never stored. */
export interface Typing {
  author: string;
}

declare module "holdfast" {
  interface Topics {
    "rooms/<slug:room>": Room;
  }
  interface TopicNames {
    strict: true;
  }
}

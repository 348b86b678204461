// Written by `manage.py holdfast schema --format typescript`. Do not edit it: run the command again.

/** Route: `bridge`. */
export interface Bridge {
  name: "bridge";
  events: {
    heads: Heads;
    pulse: Pulse;
    "server.report": ServerReport;
  };
  actions: {
    /**
     * Publish the page's own clock, so that it can measure how long an event takes.
     * At most 10/s.
     */
    pulse(payload: {
      sent: number;
    }): null;
  };
  meta: undefined;
  snapshot: undefined;
}

/**
 * The comments on one entry.
 * Route: `logbook/<int:entry>/comments`.
 */
export interface Comments {
  name: `logbook/${string}/comments`;
  events: {
    "holdfast.html": Html;
  };
  actions: {};
  meta: undefined;
  snapshot: undefined;
}

/**
 * The topic of all orders, for staff who may see them.
 * Route: `counter`.
 */
export interface Counter {
  name: "counter";
  events: {
    "order.changed": OrderChanged;
  };
  actions: {
    /** Take an order one step further; returns its state. */
    advance(payload: {
      order: number;
    }): string;
  };
  meta: undefined;
  snapshot: undefined;
}

/** Route: `inbox/<me>`. */
export interface Inbox {
  name: `inbox/${string}`;
  events: {
    "notice.added": NoticeAdded;
    "notices.read": NoticesRead;
  };
  actions: {
    /** Mark all notices up to this id as read; returns how many were not. */
    read(payload: {
      up_to: number;
    }): number;
  };
  meta: undefined;
  snapshot: undefined;
}

/**
 * The orders of one customer, in all tabs and on all devices of theirs.
 * Route: `orders/<me>`.
 */
export interface MyOrders {
  name: `orders/${string}`;
  events: {
    "order.changed": OrderChanged;
  };
  actions: {};
  meta: undefined;
  snapshot: undefined;
}

/**
 * The list of rooms of one user. It joins no room, so it is counted nowhere as being present.
 * Route: `my-rooms/<me>`.
 */
export interface MyRooms {
  name: `my-rooms/${string}`;
  events: {
    "room.news": RoomNews;
    "room.read": RoomRead;
  };
  actions: {
    /** Note that the caller has read a room up to a message; their other devices show it. */
    read(payload: {
      room: string;
      up_to: number;
    }): null;
  };
  meta: undefined;
  snapshot: undefined;
}

/**
 * One text. All who are signed in may read it, and its writers may change it.
 * Route: `pads/<slug:pad>`.
 */
export interface Pad {
  name: `pads/${string}`;
  events: {
    "document.updated": DocumentUpdated;
    /** Not stored. */
    "editor.moved": EditorMoved;
  };
  actions: {
    /**
     * Show the others an editor's cursor and selection; without a state, that it is gone.
     * At most 20/s.
     */
    aware(payload: {
      client: number;
      /** @default null */
      state?: Record<string, unknown> | null | undefined;
      /** @default false */
      ask?: boolean | undefined;
    }): null;
    /**
     * Send a part of an update that is longer than a message may be. `update` sends the last part.
     * At most 30/s.
     */
    part(payload: {
      /** @pattern ^[A-Za-z0-9_-]{1,40}$ */
      upload: string;
      /**
       * @minimum 0
       * @exclusiveMaximum 10000
       */
      number: number;
      data: string;
      /** @default null */
      replaces?: string | null | undefined;
    }): null;
    /**
     * Return the document, or what a client with this state vector (base64) lacks.
     * At most 5/s.
     */
    state(payload?: {
      /** @default "" */
      vector?: string | undefined;
    }): string;
    /**
     * Change the document. `data` is an update of Yjs as base64, or the last part of the `upload`.
     * At most 30/s.
     */
    update(payload: {
      data: string;
      /** @default null */
      upload?: string | null | undefined;
    }): null;
  };
  meta: undefined;
  snapshot: Record<string, unknown>;
}

/**
 * Nothing is stored: of each boat only the newest matters, at most five times a second.
 * Route: `race`.
 */
export interface Race {
  name: "race";
  events: {
    "boat.moved": BoatMoved;
    served: Served;
  };
  actions: {};
  meta: undefined;
  snapshot: undefined;
}

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

/** The speed of one boat, at `at` seconds of the publisher's clock. `tick` counts, so a reader sees what was left out. */
export interface BoatMoved {
  boat: number;
  tick: number;
  knots: number;
  at: number;
}

/** An editor changed the document: an update of Yjs (version 1), as base64. */
export interface DocumentUpdated {
  data: string;
}

/** An editor's cursor, selection or other state; `null` when it is gone. Never stored. */
export interface EditorMoved {
  client: number;
  by: string;
  member: string | null;
  user: Record<string, unknown>;
  state: Record<string, unknown> | null;
  ask: boolean;
}

/** The last offset of the longest logs, by topic. */
export interface Heads {
  heads: Record<string, number>;
}

/** A fragment of HTML, and where it belongs in the page. List it in the `events` of a topic, and publish it with `Topic.publish_html`: */
export interface Html {
  /**
   * @minLength 1
   * @maxLength 200
   * @pattern ^[^\s#]+$
   */
  target: string;
  swap: "after" | "append" | "before" | "morph" | "prepend" | "remove" | "replace" | "update";
  html: string;
}

/** A message was posted; on the wire `message.posted`. */
export interface MessagePosted {
  id: number;
  author: string;
  body: string;
  /** @format date-time */
  at: string;
}

export interface NoticeAdded {
  id: number;
  text: string;
  url: string;
  /** @format date-time */
  at: string;
}

/** All notices up to the one with this id are read, on every device. */
export interface NoticesRead {
  up_to: number;
}

/** An order as it is now; on the wire `order.changed`. */
export interface OrderChanged {
  id: number;
  product: string;
  customer: string;
  state: string;
  /** @format date-time */
  at: string;
}

/** The answer to a page's pulse, which travels like every event; `sent` is by the page's own clock. */
export interface Pulse {
  sent: number;
}

/** A message was said in one of the user's rooms; what their list of rooms shows of it. */
export interface RoomNews {
  room: string;
  id: number;
  author: string;
  body: string;
}

/** The user has read a room up to the message with this id, on some device. */
export interface RoomRead {
  room: string;
  up_to: number;
}

/** Counters of one server since its start, from `holdfast.metrics`. */
export interface Served {
  server: string;
  delivered: number;
  superseded: number;
  conflated: number;
}

/** One server's numbers, each second: those of `holdfast.metrics`, and what its process costs. */
export interface ServerReport {
  server: string;
  numbers: Record<string, number>;
}

/** A member is writing. The event is never stored. */
export interface Typing {
  author: string;
}

declare module "holdfast" {
  interface Topics {
    bridge: Bridge;
    "logbook/<int:entry>/comments": Comments;
    counter: Counter;
    "inbox/<me>": Inbox;
    "orders/<me>": MyOrders;
    "my-rooms/<me>": MyRooms;
    "pads/<slug:pad>": Pad;
    race: Race;
    "rooms/<slug:room>": Room;
  }
  interface TopicNames {
    strict: true;
  }
}

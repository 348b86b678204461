/** Everything that tabs say to each other. Each tab and each leader has a random id. */

/** On the channel of the group, which all tabs hear. */
export type GroupMessage =
  /** A tab wants to share. */
  | { readonly type: "attach"; readonly from: string }
  /** A tab has become the leader. */
  | { readonly type: "lead"; readonly hub: string };

/** From a tab to its leader, on a channel of the leader. */
export type TabMessage = { readonly from: string } & (
  | { readonly type: "say"; readonly text: string }
  /** How many characters of how many messages it has read since it last said so. */
  | { readonly type: "read"; readonly characters: number; readonly messages: number }
  | { readonly type: "ask" }
  | { readonly type: "detach" }
);

/** From the leader to one tab, on a channel of that tab. */
export type HubMessage = { readonly hub: string } & (
  /** `client` is the name that the shared connection has told the server. */
  | { readonly type: "attached"; readonly client: string }
  | { readonly type: "said"; readonly text: string }
  | { readonly type: "alive" }
  | { readonly type: "over"; readonly code: number; readonly reason: string }
  /** The tab needs a connection of its own. */
  | { readonly type: "aside"; readonly reason: string }
);

export function named(name: string, what: "to" | "alive" | "leader", id = ""): string {
  return `${name} ${what} ${id}`;
}

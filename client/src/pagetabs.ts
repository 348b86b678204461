/** Where the entry `tabs` leaves its `connect`, for entries that connect by themselves. */
export const TABS: unique symbol = Symbol.for("holdfast.tabs") as never;

/* Holdfast, BSD-3-Clause. Built from client/ */

/**
 * Tabs of one browser share one connection to the server.
 *
 *     import { connect } from "holdfast-client/tabs";
 *     const live = connect();
 *
 * One of the tabs has the connection, and the others speak through it. When it is closed, crashes or falls asleep, another tab
 * connects. Each tab has topics, positions and calls of its own, and hears what it would hear on a connection of its own.
 */
import { type Asked, type ConnectOptions, type Live } from "./holdfast.js";
export interface TabsOptions extends ConnectOptions {
    /**
     * Whose the page is, as text: tabs share only where it is the same. Give it where the page comes from elsewhere than a Django
     * template, or where each tab has another token of the same user: the user's id and what else decides about their rights.
     * Default: what `{% live_script tabs=True %}` says, or with a `token` the token itself. A function is asked at every attempt;
     * undefined asks for the default.
     */
    readonly identity?: Asked<string | undefined> | undefined;
}
/**
 * `connect()` of the client, with a connection that tabs share. Where they cannot (no Web Locks, no BroadcastChannel, no page, nothing
 * that says whose the page is) it is an ordinary connection.
 */
export declare function connect({ identity, ...options }?: TabsOptions): Live;

// The list of rooms, when none is open.

import { connect } from "holdfast";

import { countUnread } from "./badges.js";

countUnread(connect(), document.querySelectorAll("a[data-topic]"));

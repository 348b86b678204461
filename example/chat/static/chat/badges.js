// How much has been said in the rooms that are not open, over the one connection that the page has anyway.

export function countUnread(live, links) {
  for (const link of links) {
    const badge = link.querySelector(".badge");
    let unread = 0;
    live.topic(link.dataset.topic).on("message.posted", () => {
      unread += 1;
      badge.hidden = false;
      badge.textContent = unread > 99 ? "99+" : String(unread);
      badge.setAttribute("aria-label", `${unread} unread`);
    });
  }
}

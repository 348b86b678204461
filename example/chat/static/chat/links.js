// Web addresses in a text become links; all else stays text. The same rule is in templatetags/chat_text.py.

const LINK = /(https?:\/\/[^\s<>"]*[^\s<>".,;:!?'\])}])/;

/** The text's parts, to be put into an element. */
export function linked(body) {
  return body.split(LINK).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = document.createElement("a");
    return Object.assign(link, { href: part, textContent: part, rel: "nofollow noopener", target: "_blank" });
  });
}

// Asks for a digest without leaving the page; it arrives as a message. Without this script the form does it by itself.

/** @type {any} */
const form = document.getElementById("digest");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true; // one at a time
  try {
    await fetch(form.action, { method: "POST", body: new FormData(form), redirect: "manual" });
  } finally {
    setTimeout(() => { button.disabled = false; }, 2000);
  }
});

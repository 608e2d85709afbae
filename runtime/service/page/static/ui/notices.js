/** Short messages in a corner, which screen readers read. */

import { button, make } from "../elements/dom.js";

const SECONDS = 8;
const MOST = 3;

/**
 * @param {string} text
 * @param {{failed?: boolean}} [options] a failure stays until it is closed
 */
export function notify(text, { failed = false } = {}) {
  const place = /** @type {HTMLElement} */ (document.getElementById("notices"));
  const notice = make("p", { class: failed ? "failed" : null, role: failed ? "alert" : "status" }, make("span", {}, text));
  notice.append(button("✕", () => notice.remove(), { label: "Close this message", kind: "quiet" }));
  while (place.childElementCount >= MOST) place.firstElementChild?.remove();
  place.append(notice);
  if (!failed) setTimeout(() => notice.remove(), SECONDS * 1000);
}

/** @param {string} text for screen readers alone */
export function announce(text) {
  const place = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  place.textContent = text;
}

/** The API key of this tab: entered once, kept until the tab is closed, sent as a bearer token. */

const NAME = "triptych.key";

/** @returns {string | null} */
export function readKey() {
  return sessionStorage.getItem(NAME);
}

/** @param {string | null} key */
export function keepKey(key) {
  if (key) sessionStorage.setItem(NAME, key);
  else sessionStorage.removeItem(NAME);
}

/**
 * The header's value; characters beyond ASCII are sent in UTF-8, as the service reads them.
 *
 * @param {string} key
 */
export function bearer(key) {
  return `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}`;
}

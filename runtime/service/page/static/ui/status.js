/** The banner of a service that is away or not ready, and the wait for its return. */

import { readState } from "../api/service.js";

const FIRST_SECONDS = 1;
const LAST_SECONDS = 10;
/** @type {Readonly<Record<string, string>>} */
const TEXTS = {
  offline: "The service cannot be reached. Your settings stay here; the page continues when it is back.",
  loading: "The service is loading its models.",
  stopping: "The service is about to stop. Images that were accepted are still drawn.",
};

/** @type {Promise<void> | null} */
let waiting = null;

/**
 * Show why the service is not ready, until it is.
 *
 * @returns {Promise<void>}
 */
export function untilReady() {
  waiting ??= wait().finally(() => (waiting = null));
  return waiting;
}

async function wait() {
  const banner = /** @type {HTMLElement} */ (document.getElementById("banner"));
  for (let seconds = FIRST_SECONDS; ; seconds = Math.min(2 * seconds, LAST_SECONDS)) {
    const state = await readState();
    banner.hidden = state === "ready";
    if (state === "ready") return;
    const text = TEXTS[state] ?? TEXTS.offline;
    if (banner.textContent !== text) banner.textContent = text;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

/** Images with their settings, as the page shows them. */

import { saveBlob } from "../elements/dom.js";
import { readImageSettings } from "../settings/image_settings.js";

/** @typedef {{id: number | null, created: number, model: string, settings: Record<string, unknown>, seed: number | string, blob: Blob}} Item */

const NAME_CHARACTERS = 40;

/**
 * The images of a job; settings and seed are those that each file carries.
 *
 * @param {import("../jobs/job.js").Job} job
 * @returns {Promise<Item[]>}
 */
export async function itemsOf(job) {
  const blobs = job.rows.flatMap(({ image }) => (image ? [image] : []));
  return Promise.all(
    blobs.map(async (blob) => {
      const { model, n, ...requested } = job.values;
      const settings = (await readImageSettings(blob))?.values ?? requested;
      const seed = /** @type {number | string} */ (settings.seed ?? "unknown");
      return { id: null, created: job.created, model: job.model.id, settings, seed, blob };
    }),
  );
}

/**
 * Save an image under a name of its prompt and seed.
 *
 * @param {Item} item
 */
export function download({ blob, settings, seed }) {
  const words = String(settings.prompt ?? "").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, NAME_CHARACTERS);
  saveBlob(blob, `${words.replace(/^-+|-+$/g, "") || "image"}-${seed}.png`);
}

/**
 * Move the focus among buttons with the arrow keys.
 *
 * @param {HTMLElement} place
 */
export function walkWithArrows(place) {
  place.addEventListener("keydown", (event) => {
    const buttons = [.../** @type {NodeListOf<HTMLButtonElement>} */ (place.querySelectorAll("button[data-item]"))];
    const index = buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (index < 0 || step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    buttons[Math.min(Math.max(index + step, 0), buttons.length - 1)].focus();
  });
}

/** Actions on an image: from the large view to the form, or to another job. */

import "../elements/image_compare.js";
import { ask } from "../ui/dialogs.js";
import { notify } from "../ui/notices.js";
import { download } from "./items.js";

/** @typedef {import("./items.js").Item} Item */
/** @typedef {import("../api/service.js").Model} Model */
/** @typedef {Record<string, unknown>} Values */

const UPSCALE = 2;
const LEAST_UPSCALE = 1.1;
const UPSCALE_STRENGTH = 0.35;
const VARIATIONS = 4;

/**
 * What actions need of the page.
 *
 * @typedef {object} Page
 * @property {() => Model} model
 * @property {(values: Values, start?: import("../jobs/job.js").Start | null) => void} draw
 * @property {(values: Values) => void} restore
 * @property {(blob: Blob) => Promise<void>} startFrom
 * @property {(item: Item) => Promise<void>} remove
 */

/** @param {Model} model @returns {string[]} names for `<large-view>` */
export function actionsOf({ fields, tasks }) {
  const starts = tasks.some((task) => task !== "text-to-image" && task !== "upscaling");
  return [
    "download",
    "restore",
    ...(starts ? ["start"] : []),
    ...(tasks.includes("text-to-image") ? ["variations"] : []),
    ...(fields.includes("upscale") || fields.includes("strength") ? ["upscale"] : []),
    "compare",
    "delete",
  ];
}

/**
 * The function that runs an action by name.
 *
 * @param {Page} page
 * @returns {(name: string, item: Item) => Promise<void>} resolves to true if the large view must be closed
 */
export function actionRunner(page) {
  /** @type {Item | null} */
  let compared = null;
  /** @type {Record<string, (item: Item) => void | Promise<void>>} */
  const actions = {
    download,
    restore: ({ settings }) => page.restore(settings),
    start: ({ blob }) => page.startFrom(blob),
    variations: (item) => vary(page, item),
    upscale: (item) => upscale(page, item),
    delete: (item) => page.remove(item),
    async compare(item) {
      if (!compared || compared.blob === item.blob) {
        compared = item;
        notify("Choose the other image, and press Compare.");
        return;
      }
      const view = /** @type {import("../elements/image_compare.js").ImageCompare} */ (document.getElementById("compare"));
      view.show({ left: compared.blob, right: item.blob, leftLabel: `Seed ${compared.seed}`, rightLabel: `Seed ${item.seed}` });
      compared = null;
      await ask("dialog-compare");
    },
  };
  return async (name, item) => actions[name]?.(item);
}

/** @param {Page} page @param {Item} item */
async function vary(page, { settings, seed }) {
  if (isFromImage(settings)) return notify("This image started from another image. Start from it, and draw with another seed.");
  if ((await ask("dialog-variations")) !== "ok") return;
  const strength = Number(/** @type {HTMLInputElement} */ (document.getElementById("variation_strength")).value);
  const [variation] = crypto.getRandomValues(new Uint32Array(1));
  const n = Math.min(VARIATIONS, page.model().limits.n);
  page.draw({ ...settings, seed, variation_seed: variation, variation_strength: strength, n });
}

/** @param {Page} page @param {Item} item */
function upscale(page, { settings, seed, blob }) {
  const { limits, sizes, fields } = page.model();
  const [width, height] = String(settings.size).split("x").map(Number);
  const factor = Math.floor(Math.min(UPSCALE, Math.sqrt(limits.pixels / (width * height))) * 10) / 10;
  if (!(factor >= LEAST_UPSCALE) || settings.upscale) {
    notify(`The largest image here has ${new Intl.NumberFormat().format(limits.pixels)} pixels.`);
  } else if (fields.includes("upscale") && !isFromImage(settings)) {
    page.draw({ ...settings, seed, upscale: factor, n: 1 });
  } else {
    const side = (/** @type {number} */ length) => Math.floor((length * factor) / sizes.multiple) * sizes.multiple;
    const size = `${side(width)}x${side(height)}`;
    page.draw({ ...settings, seed, size, strength: UPSCALE_STRENGTH, n: 1 }, { image: blob, mask: null });
  }
}

/** @param {Values} settings */
function isFromImage({ strength, upscale: factor }) {
  return Boolean(strength) && !factor;
}

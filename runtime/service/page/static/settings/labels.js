/** The names of settings as people read them, and their values in the browser's language. */

/** Field of the HTTP API -> name. @type {Readonly<Record<string, string>>} */
export const LABELS = Object.freeze({
  prompt: "Prompt",
  negative_prompt: "Negative prompt",
  prompt_2: "Second prompt",
  prompt_3: "Third prompt",
  negative_prompt_2: "Second negative prompt",
  negative_prompt_3: "Third negative prompt",
  model: "Model",
  size: "Size",
  num_inference_steps: "Steps",
  guidance_scale: "Guidance",
  image_guidance_scale: "Image guidance",
  seed: "Seed",
  variation_seed: "Variation seed",
  variation_strength: "Variation strength",
  n: "Images",
  strength: "Strength",
  upscale: "Upscale",
  scheduler: "Scheduler",
  scheduler_options: "Scheduler options",
  eta: "Eta",
  timesteps: "Timesteps",
  sigmas: "Noise levels",
  guidance_rescale: "Guidance rescale",
  guidance_interval: "Guidance interval",
  guidance_projection: "Guidance projection",
  original_size: "Original size",
  crops_coords_top_left: "Crop from top left",
  target_size: "Target size",
  aesthetic_score: "Aesthetic score",
  negative_aesthetic_score: "Negative aesthetic score",
  noise: "Noise",
});

const numbers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });

/** Values that are names: their digits are not grouped. */
const EXACT = new Set(["seed", "variation_seed"]);

/**
 * Settings as pairs of name and value, in a fixed order; those without a value are left out.
 *
 * @param {Record<string, unknown>} settings by field of the HTTP API
 * @returns {{field: string, label: string, value: string}[]}
 */
export function describe(settings) {
  return Object.entries(LABELS).flatMap(([field, label]) => {
    const value = settings[field];
    if (value === null || value === undefined || value === "") return [];
    return [{ field, label, value: EXACT.has(field) ? String(value) : written(value) }];
  });
}

/**
 * @param {unknown} value
 * @returns {string}
 */
function written(value) {
  if (typeof value === "number") return numbers.format(value);
  if (Array.isArray(value)) return value.map(written).join("; ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([name, each]) => `${name}: ${written(each)}`)
      .join(", ");
  }
  return String(value).replace(/^(\d+)x(\d+)$/, "$1 × $2");
}

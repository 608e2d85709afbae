/**
 * The text that AUTOMATIC1111's web UI writes into images, under the name "parameters":
 *
 *     prompt, of any number of lines
 *     Negative prompt: also of any number of lines
 *     Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Lora hashes: "a: 1, b: 2"
 *
 * Forge, SD.Next and Civitai write it too. Values are bare, quoted as in JSON, or JSON in brackets.
 */

import { kindOf, toNumber } from "./fields.js";

/** @typedef {import("./image_settings.js").ImageSettings} ImageSettings */

const MAX_UNKNOWN = 50;
const MAX_UNKNOWN_CHARACTERS = 200;
const NEGATIVE = "Negative prompt:";

/** Schedule types that Triptych reads after the name of a scheduler. */
const SCHEDULES = new Set(["karras", "exponential", "beta", "sgm uniform", "simple"]);

/** Schedule types that leave the scheduler as it is. */
const ORDINARY = new Set(["automatic", "normal", "uniform"]);

/** Names that have no field, or that are read together with another one. */
const IGNORED = new Set(["Version", "Sampler", "Schedule type", "Hires upscaler", "Model hash"]);

/** @type {Record<string, string>} */
const RANDOM_NUMBERS = { CPU: "torch", GPU: "torch_cuda", NV: "torch_cuda" };

/**
 * Name in the text -> field and value.
 *
 * @type {Record<string, (value: string) => [string, unknown]>}
 */
const MEANINGS = {
  Steps: (value) => ["num_inference_steps", toNumber(value)],
  "CFG scale": (value) => ["guidance_scale", value.includes(" ") ? value.split(" ").map(toNumber) : toNumber(value)],
  "Image CFG scale": (value) => ["image_guidance_scale", toNumber(value)],
  Seed: (value) => ["seed", value],
  "Variation seed": (value) => ["variation_seed", value],
  "Variation seed strength": (value) => ["variation_strength", toNumber(value)],
  Size: (value) => ["size", value],
  Model: (value) => ["model", value],
  "Denoising strength": (value) => ["strength", toNumber(value)],
  "Hires upscale": (value) => ["upscale", toNumber(value)],
  RNG: (value) => ["noise", RANDOM_NUMBERS[value]],
};

/**
 * Read the text.
 *
 * @param {string} text
 * @returns {ImageSettings | null} null without a line of settings
 */
export function parseInfotext(text) {
  const lines = text.split(/\r?\n/);
  const last = lines.findLastIndex((line) => line.startsWith("Steps: "));
  const pairs = last < 0 ? [] : readPairs(lines[last]);
  if (!pairs.length) return null;
  const prompts = lines.slice(0, last);
  const negative = prompts.findIndex((line) => line.startsWith(NEGATIVE));
  const positive = negative < 0 ? prompts : prompts.slice(0, negative);
  /** @type {Record<string, unknown>} */
  const values = {};
  /** @type {string[]} */
  const unknown = [];
  /** @param {string} field @param {unknown} value @param {string} written */
  const set = (field, value, written) => {
    const checked = kindOf(field)?.check(value);
    if (checked === undefined) unknown.push(written);
    else values[field] = checked;
  };
  set("prompt", positive.join("\n").trim(), "prompt");
  if (negative >= 0) {
    set("negative_prompt", prompts.slice(negative).join("\n").slice(NEGATIVE.length).trim(), "negative prompt");
  }
  for (const [name, value] of pairs) {
    if (Object.hasOwn(MEANINGS, name)) set(...MEANINGS[name](value), `${name}: ${value}`);
    else if (!IGNORED.has(name)) unknown.push(`${name}: ${value}`);
  }
  const named = new Map(pairs);
  const [scheduler, ...rest] = schedulerOf(named.get("Sampler") ?? "", named.get("Schedule type") ?? "");
  if (scheduler) values.scheduler = scheduler;
  unknown.push(...rest);
  return {
    source: "a1111",
    values,
    unknown: unknown.slice(0, MAX_UNKNOWN).map((each) => each.slice(0, MAX_UNKNOWN_CHARACTERS)),
    modelHash: named.get("Model hash") ?? null,
  };
}

/**
 * A scheduler's name with its schedule, and what of them has no meaning here.
 *
 * @param {string} sampler
 * @param {string} schedule
 * @returns {string[]}
 */
function schedulerOf(sampler, schedule) {
  const folded = schedule.toLowerCase();
  if (!sampler || !schedule || ORDINARY.has(folded)) return [sampler];
  if (!SCHEDULES.has(folded)) return [sampler, `Schedule type: ${schedule}`];
  return sampler.toLowerCase().endsWith(folded) ? [sampler] : [`${sampler} ${schedule}`];
}

/**
 * "name: value" between commas, in the order of the line, read in one pass.
 *
 * @param {string} line
 * @returns {[string, string][]} empty where the line reads differently
 */
function readPairs(line) {
  /** @type {[string, string][]} */
  const pairs = [];
  for (let start = 0; start < line.length;) {
    const colon = line.indexOf(":", start);
    if (colon < 0) break;
    const end = endOfValue(line, colon + 1);
    const name = line.slice(start, colon).trim();
    if (name && !name.includes(",")) pairs.push([name, unquoted(line.slice(colon + 1, end).trim())]);
    start = end + 1;
  }
  return pairs;
}

/**
 * Place of the comma after a value, or the end of the line; commas in quotes or brackets belong to the value.
 *
 * @param {string} line
 * @param {number} start
 */
function endOfValue(line, start) {
  let quoted = false;
  let depth = 0;
  const first = line.slice(start, start + 2).trim();
  if (!first || !'"[{'.includes(first[0])) {
    const comma = line.indexOf(",", start);
    return comma < 0 ? line.length : comma;
  }
  for (let place = start; place < line.length; place++) {
    const character = line[place];
    if (quoted && character === "\\") place++;
    else if (character === '"') quoted = !quoted;
    else if (!quoted && "[{".includes(character)) depth++;
    else if (!quoted && "]}".includes(character)) depth--;
    else if (!quoted && depth <= 0 && character === ",") return place;
  }
  return line.length;
}

/** @param {string} value */
function unquoted(value) {
  if (!value.startsWith('"')) return value;
  try {
    return String(JSON.parse(value));
  } catch {
    return value;
  }
}

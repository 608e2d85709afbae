/** The axes of a grid: settings that it varies, and lists of values as people type them. */

import { FIELDS } from "../settings/fields.js";
import { LABELS } from "../settings/labels.js";

/** @typedef {Record<string, unknown>} Settings */

/**
 * A setting that an axis varies.
 *
 * @typedef {object} Axis
 * @property {string} name
 * @property {string} label
 * @property {string} hint
 * @property {(text: string, settings: Settings) => unknown[]} values of an axis' text; throws AxisError
 * @property {(settings: Settings, value: unknown, all: unknown[]) => Settings} apply settings with one of the values
 */

/**
 * What the grid needs of a model's description.
 *
 * @typedef {object} Model
 * @property {string[]} [fields]
 * @property {string[]} [schedulers]
 * @property {{fixed: boolean, suggested: string[]}} [sizes]
 */

/** The values of an axis cannot be read; the message says why. */
export class AxisError extends Error {}

export const REPLACEMENT = "replacement";
export const MAX_VALUES = 100;
const NUMBERS = [
  "seed",
  "num_inference_steps",
  "guidance_scale",
  "strength",
  "image_guidance_scale",
  "variation_strength",
];
const TEXTS = ["scheduler", "size", "prompt", "negative_prompt"];
const NUMBER = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)`;
const RANGE = new RegExp(String.raw`^(${NUMBER})\s*-\s*(${NUMBER})\s*(?:\[\s*(\d+)\s*\]|\(\s*(${NUMBER})\s*\))?$`);
const ORDINARY = new Set(["seed", "num_inference_steps", "size", "prompt", "scheduler"]);

/**
 * The axes that a model can vary, from settings as they are.
 *
 * @param {Model} model of /v1/models
 * @param {Settings} settings
 * @returns {Axis[]}
 */
export function axesOf(model, settings) {
  const usable = (/** @type {string} */ name) => {
    if (name === "size") return !model.sizes?.fixed;
    if (name === "strength") return settings.strength !== undefined && settings.strength !== null;
    if (name === "variation_strength") return isSet(settings.variation_seed);
    return ORDINARY.has(name) || (model.fields?.includes(name) ?? false);
  };
  const numbers = NUMBERS.filter(usable).map((name) => fieldAxis(name, "10, 20, 30 or 10-30 [5]", readNumbers));
  const texts = TEXTS.filter(usable).map((name) => fieldAxis(name, hintOf(name, model), readTexts));
  return [...numbers, ...texts, replacementAxis];
}

/**
 * Numbers of a text: "10, 20", "1-3" (steps of 1), "1-9 (2)" (steps of 2), "10-30 [5]" (5 values from 10 to 30).
 *
 * @param {string} text
 * @param {boolean} whole
 * @returns {number[]}
 * @throws {AxisError}
 */
export function readRange(text, whole) {
  return readTexts(text).flatMap((part) => {
    const [, first, last, count, step] = RANGE.exec(part) ?? [];
    if (first === undefined) return [checked(Number(part), part)];
    return spread(Number(first), Number(last), { count, step, whole, part });
  });
}

/**
 * Texts between commas; quotes keep a comma: a, "b, c".
 *
 * @param {string} text
 * @returns {string[]}
 * @throws {AxisError}
 */
export function readTexts(text) {
  const parts = [...text.matchAll(/\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)/g)];
  const texts = parts
    .map(([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare.trim())
    .filter((part) => part !== "");
  if (texts.length > MAX_VALUES) throw new AxisError(`${texts.length} values; allowed: ${MAX_VALUES}.`);
  return texts;
}

/** @param {string} name @param {string} hint @param {(text: string, name: string) => unknown[]} read @returns {Axis} */
function fieldAxis(name, hint, read) {
  return {
    name,
    label: LABELS[name],
    hint,
    values: (text) => read(text, name).map((value) => allowed(name, value)),
    apply: (settings, value) => ({ ...settings, [name]: value }),
  };
}

/** Words of the prompts: the first value is replaced by each of the values. @type {Axis} */
const replacementAxis = {
  name: REPLACEMENT,
  label: "Search and replace in the prompts",
  hint: "fox, badger, owl: fox is replaced by each",
  values(text, settings) {
    const values = readTexts(text);
    const prompts = [settings.prompt, settings.negative_prompt].filter((prompt) => typeof prompt === "string");
    if (values.length && !prompts.some((prompt) => prompt.includes(values[0]))) {
      throw new AxisError(`“${values[0]}” is not in the prompts.`);
    }
    return values;
  },
  apply(settings, value, [searched]) {
    const replaced = Object.entries(settings).map(([name, text]) =>
      (name === "prompt" || name === "negative_prompt") && typeof text === "string"
        ? [name, text.replaceAll(String(searched), () => String(value))]
        : [name, text],
    );
    return Object.fromEntries(replaced);
  },
};

/** @param {string} text @param {string} name */
function readNumbers(text, name) {
  if (name === "seed") {
    return readTexts(text).flatMap((part) => (/^\d+$/.test(part) ? part : readRange(part, true).map(String)));
  }
  return readRange(text, name === "num_inference_steps");
}

/** @param {string} name @param {unknown} value */
function allowed(name, value) {
  const known = FIELDS[name].check(name === "size" ? String(value).replace(/\s*[x×]\s*/, "x") : value);
  if (known === undefined) throw new AxisError(`“${value}” is not allowed for ${LABELS[name].toLowerCase()}.`);
  return known;
}

/**
 * @param {number} first
 * @param {number} last
 * @param {{count?: string, step?: string, whole: boolean, part: string}} how
 * @returns {number[]}
 */
function spread(first, last, { count, step, whole, part }) {
  const sign = last < first ? -1 : 1;
  const size = step === undefined ? 1 : Math.abs(Number(step));
  const steps = count === undefined ? Math.floor(Math.abs(last - first) / size + 1e-9) : Number(count) - 1;
  if (!(steps >= 0 && steps < MAX_VALUES)) {
    throw new AxisError(`“${part}” has more than ${MAX_VALUES} values, or none.`);
  }
  const width = count === undefined ? sign * size : (last - first) / Math.max(steps, 1);
  const values = Array.from({ length: steps + 1 }, (_, index) => Number((first + index * width).toPrecision(12)));
  return whole ? values.map(Math.round) : values;
}

/** @param {number} value @param {string} part */
function checked(value, part) {
  if (!Number.isFinite(value)) throw new AxisError(`“${part}” is not a number.`);
  return value;
}

/** @param {string} name @param {Model} model */
function hintOf(name, model) {
  const examples = { scheduler: model.schedulers, size: model.sizes?.suggested }[name]?.slice(0, 3).join(", ");
  return examples || 'a fox, "a fox, at night"';
}

/** @param {unknown} value */
function isSet(value) {
  return value !== undefined && value !== null;
}

/**
 * The request fields that are settings of an image, by their names in the HTTP API.
 *
 * `check` returns a value as a request may have it, or undefined for any other value; `read` is the inverse of String()
 * for values of that kind in a URL.
 *
 * @typedef {{check: (value: unknown) => unknown, read?: (text: string) => unknown}} Kind
 */

const MAX_CHARACTERS = 1 << 16;
const MAX_NUMBERS = 1000;
const MAX_OPTIONS = 100;
const MAX_SEED = (1n << 64n) - 1n;

/** @param {number} [longest] characters; @returns {Kind} */
function text(longest = MAX_CHARACTERS) {
  return { check: (value) => (typeof value === "string" && value.length <= longest ? value : undefined) };
}

/** @param {number} low @param {number} high @returns {Kind} */
function number(low, high) {
  return {
    check: (value) => (typeof value === "number" && value >= low && value <= high ? value : undefined),
    read: toNumber,
  };
}

/** @param {number} low @param {number} high @returns {Kind} */
function integer(low, high) {
  const { check } = number(low, high);
  return { check: (value) => (Number.isInteger(value) ? check(value) : undefined), read: toNumber };
}

/** @param {Kind} kind of each @param {number} fewest @param {number} most @returns {Kind} */
function list(kind, fewest, most) {
  return {
    check(value) {
      if (!Array.isArray(value) || value.length < fewest || value.length > most) return undefined;
      return value.every((each) => kind.check(each) !== undefined) ? value : undefined;
    },
    read: (written) => written.split(",").map(toNumber),
  };
}

/** @param {Kind} first @param {Kind} second @returns {Kind} */
function either(first, second) {
  return {
    check: (value) => first.check(value) ?? second.check(value),
    read: (written) => [first, second].map((kind) => kind.check(kind.read?.(written) ?? written)).find(isKnown),
  };
}

/**
 * Number that a text says; NaN for an empty one.
 *
 * @param {string} written
 */
export function toNumber(written) {
  return written.trim() === "" ? NaN : Number(written);
}

/** @param {unknown} value */
function isKnown(value) {
  return value !== undefined;
}

/** A whole number of 64 bits: a number, or its digits where a number would lose some. @type {Kind} */
const seed = {
  check(value) {
    const digits = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
    if (typeof digits !== "string" || !/^\d{1,20}$/.test(digits)) return undefined;
    const exact = BigInt(digits);
    if (exact > MAX_SEED) return undefined;
    return exact <= Number.MAX_SAFE_INTEGER ? Number(exact) : String(exact);
  },
};

/** @type {Kind} */
const size = {
  check: (value) => (typeof value === "string" && /^(auto|[1-9]\d{0,4}x[1-9]\d{0,4})$/.test(value) ? value : undefined),
};

const named = text(200);
const numbers = list(number(0, 1000), 1, MAX_NUMBERS);

/** @type {Kind} */
const options = {
  check(value) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    const entries = Object.entries(value);
    const allowed = entries.every(([name, each]) => {
      const plain = each === null || typeof each === "boolean" || Number.isFinite(each);
      return named.check(name) && (plain || (named.check(each) ?? numbers.check(each)) !== undefined);
    });
    return allowed && entries.length <= MAX_OPTIONS ? value : undefined;
  },
  read(written) {
    try {
      return JSON.parse(written);
    } catch {
      return undefined;
    }
  },
};

const corner = list(integer(0, 100_000), 2, 2);

/** Name -> kind. @type {Readonly<Record<string, Kind>>} */
export const FIELDS = Object.freeze({
  prompt: text(),
  negative_prompt: text(),
  prompt_2: text(),
  prompt_3: text(),
  negative_prompt_2: text(),
  negative_prompt_3: text(),
  model: named,
  size,
  num_inference_steps: integer(1, 100_000),
  guidance_scale: either(number(0, 100), list(number(0, 100), 1, MAX_NUMBERS)),
  image_guidance_scale: number(1, 100),
  seed,
  variation_seed: seed,
  variation_strength: number(0, 1),
  n: integer(1, 1000),
  strength: number(Number.MIN_VALUE, 1),
  upscale: number(1 + Number.EPSILON, 4),
  scheduler: named,
  scheduler_options: options,
  eta: number(0, 1),
  timesteps: either(numbers, named),
  sigmas: either(numbers, named),
  guidance_rescale: number(0, 1),
  guidance_interval: list(number(-1000, 1000), 2, 2),
  guidance_projection: list(number(-1000, 1000), 3, 3),
  original_size: corner,
  crops_coords_top_left: corner,
  target_size: corner,
  aesthetic_score: number(-1000, 1000),
  negative_aesthetic_score: number(-1000, 1000),
  noise: named,
});

/**
 * The kind of a field.
 *
 * @param {string} name
 * @returns {Kind | undefined}
 */
export function kindOf(name) {
  return Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
}

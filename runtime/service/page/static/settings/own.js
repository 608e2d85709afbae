/** Triptych's own settings: the JSON that its PNGs carry, see runtime/image/settings.py. */

import { kindOf } from "./fields.js";

/** @typedef {import("./image_settings.js").ImageSettings} ImageSettings */

/** Keys about the file, not about the image. */
const ABOUT = new Set(["width", "height", "model_hash", "precision", "version"]);

/**
 * Read the JSON.
 *
 * @param {string} text
 * @returns {ImageSettings | null} null for anything but a JSON object with a prompt
 */
export function parseOwn(text) {
  const settings = parseExactly(text);
  if (typeof settings !== "object" || settings === null || typeof settings.prompt !== "string") return null;
  /** @type {Record<string, unknown>} */
  const values = {};
  const unknown = [];
  const size = kindOf("size")?.check(`${settings.width}x${settings.height}`);
  for (const [name, value] of Object.entries({ ...settings, size })) {
    if (value === null || value === undefined || ABOUT.has(name)) continue;
    const checked = kindOf(name)?.check(value);
    if (checked === undefined) unknown.push(name.slice(0, 100));
    else values[name] = checked;
  }
  const hash = settings.model_hash;
  return { source: "triptych", values, unknown, modelHash: typeof hash === "string" && hash ? hash : null };
}

/**
 * JSON with whole numbers beyond 2^53 as strings of their digits.
 *
 * @param {string} text
 * @returns {any} undefined for no JSON
 */
function parseExactly(text) {
  try {
    JSON.parse(text); // the pattern below is right, and fast, for JSON alone
    const quoted = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
      /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token,
    );
    return JSON.parse(quoted);
  } catch {
    return undefined;
  }
}

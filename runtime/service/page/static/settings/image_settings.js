/** The settings that an image file carries: Triptych's own in PNG, and A1111's text in PNG, JPEG and WebP. */

import { readUserComment } from "./exif.js";
import { parseInfotext } from "./infotext.js";
import { parseOwn } from "./own.js";
import { isPng, readTexts } from "./png.js";

const OWN = "triptych";
const INFOTEXT = "parameters";
const MAX_BYTES = 128 << 20;
const MAX_CHARACTERS = 1 << 20;

/**
 * Settings of an image.
 *
 * @typedef {object} ImageSettings
 * @property {"triptych" | "a1111"} source
 * @property {Record<string, unknown>} values by field of the HTTP API; seeds above 2^53 as strings
 * @property {string[]} unknown settings in the file that have no such field, or a value that it does not allow
 * @property {string | null} modelHash hash of the model's files: of Triptych's settings the fingerprint of /v1/models
 */

/**
 * Read the settings of an image file from any source.
 *
 * @param {Blob} blob
 * @returns {Promise<ImageSettings | null>} null for a file without settings, or a damaged one
 */
export async function readImageSettings(blob) {
  if (blob.size > MAX_BYTES) return null;
  const bytes = await blob.arrayBuffer().then(
    (buffer) => new Uint8Array(buffer),
    () => null,
  );
  if (bytes === null) return null; // a folder, or a file that is gone
  if (!isPng(bytes)) return parse(readUserComment(bytes), parseInfotext);
  const texts = await readTexts(bytes, [OWN, INFOTEXT]);
  return parse(texts.get(OWN), parseOwn) ?? parse(texts.get(INFOTEXT), parseInfotext);
}

/**
 * @param {string | null | undefined} text
 * @param {(text: string) => ImageSettings | null} parser
 */
function parse(text, parser) {
  return text && text.length <= MAX_CHARACTERS ? parser(text) : null;
}

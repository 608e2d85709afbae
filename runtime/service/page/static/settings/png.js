/** Texts in the chunks of a PNG: tEXt, zTXt and iTXt, as the PNG specification (third edition, 11.3.3) defines them. */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MAX_TEXT_BYTES = 4 << 20; // of a chunk, and of what it decompresses to
const MAX_TEXTS = 100;

/**
 * Whether a file begins as a PNG.
 *
 * @param {Uint8Array} bytes
 */
export function isPng(bytes) {
  return SIGNATURE.every((byte, place) => bytes[place] === byte);
}

/**
 * The texts of the given keywords.
 *
 * @param {Uint8Array} bytes of a PNG
 * @param {string[]} keywords
 * @returns {Promise<Map<string, string>>} keyword -> text, the last of each
 */
export async function readTexts(bytes, keywords) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Map<string, string>} */
  const texts = new Map();
  let read = 0;
  for (let place = SIGNATURE.length; place + 12 <= bytes.length && read < MAX_TEXTS;) {
    const length = view.getUint32(place);
    const kind = latin1(bytes.subarray(place + 4, place + 8));
    const content = bytes.subarray(place + 8, place + 8 + length);
    if (kind === "IEND" || content.length < length) break;
    place += length + 12;
    if (!["tEXt", "zTXt", "iTXt"].includes(kind) || length > MAX_TEXT_BYTES) continue;
    const [keyword, rest] = split(content);
    if (!keywords.includes(latin1(keyword))) continue;
    read++;
    const text = await decode(kind, rest).catch(() => null);
    if (text !== null) texts.set(latin1(keyword), text);
  }
  return texts;
}

/**
 * @param {string} kind
 * @param {Uint8Array} rest after the keyword
 */
async function decode(kind, rest) {
  if (kind === "tEXt") return latin1(rest);
  if (kind === "zTXt") return latin1(await inflate(rest.subarray(1)));
  const compressed = rest[0] === 1;
  const [, afterLanguage] = split(rest.subarray(2));
  const [, written] = split(afterLanguage);
  return new TextDecoder("utf-8", { fatal: true }).decode(compressed ? await inflate(written) : written);
}

/**
 * Bytes before and after the first zero.
 *
 * @param {Uint8Array} bytes
 * @returns {[Uint8Array, Uint8Array]}
 */
function split(bytes) {
  const zero = bytes.indexOf(0);
  return zero < 0 ? [bytes, bytes.subarray(bytes.length)] : [bytes.subarray(0, zero), bytes.subarray(zero + 1)];
}

/** @param {Uint8Array} bytes */
function latin1(bytes) {
  const parts = [];
  for (let start = 0; start < bytes.length; start += 8192) {
    parts.push(String.fromCharCode(...bytes.subarray(start, start + 8192)));
  }
  return parts.join("");
}

/**
 * @param {Uint8Array} bytes
 * @throws {Error} not deflated, or too long
 */
async function inflate(bytes) {
  const source = new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)]).stream();
  const reader = source.pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > MAX_TEXT_BYTES) {
      await reader.cancel();
      throw new RangeError("text too long");
    }
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

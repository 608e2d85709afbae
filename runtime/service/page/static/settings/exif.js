/** The EXIF tag UserComment of a JPEG or a WebP, as CIPA DC-008 (Exif 2.32) defines it. */

const EXIF_POINTER = 0x8769;
const USER_COMMENT = 0x9286;
const EXIF_HEADER = "Exif\0\0";

/**
 * The comment.
 *
 * @param {Uint8Array} bytes of any file
 * @returns {string | null} null where there is none
 */
export function readUserComment(bytes) {
  try {
    const tiff =
      ascii(bytes, 0, 4) === "RIFF" ? inWebp(bytes) : bytes[0] === 0xff && bytes[1] === 0xd8 ? inJpeg(bytes) : null;
    return tiff && commentOf(tiff);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return null; // beyond the end; no such encoding
    throw error;
  }
}

/** @param {Uint8Array} bytes @returns {Uint8Array | null} */
function inJpeg(bytes) {
  const view = viewOf(bytes);
  for (let place = 2; place + 4 <= bytes.length && bytes[place] === 0xff;) {
    const marker = bytes[place + 1];
    if (marker === 0xda) return null; // the image data
    const length = view.getUint16(place + 2);
    if (marker === 0xe1 && ascii(bytes, place + 4, 6) === EXIF_HEADER) {
      return bytes.subarray(place + 10, place + 2 + length);
    }
    place += 2 + Math.max(length, 2);
  }
  return null;
}

/** @param {Uint8Array} bytes @returns {Uint8Array | null} */
function inWebp(bytes) {
  const view = viewOf(bytes);
  for (let place = 12; place + 8 <= bytes.length;) {
    const length = view.getUint32(place + 4, true);
    if (ascii(bytes, place, 4) === "EXIF") {
      const content = bytes.subarray(place + 8, place + 8 + length);
      return ascii(content, 0, 6) === EXIF_HEADER ? content.subarray(6) : content;
    }
    place += 8 + length + (length % 2);
  }
  return null;
}

/** @param {Uint8Array} tiff @returns {string | null} */
function commentOf(tiff) {
  const view = viewOf(tiff);
  const little = ascii(tiff, 0, 2) === "II";
  const exif = entry(view, view.getUint32(4, little), EXIF_POINTER, little);
  if (exif === null) return null;
  const comment = entry(view, view.getUint32(exif + 8, little), USER_COMMENT, little);
  if (comment === null) return null;
  const length = view.getUint32(comment + 4, little);
  const start = length > 4 ? view.getUint32(comment + 8, little) : comment + 8;
  const content = tiff.subarray(start, start + length);
  const text = content.subarray(8);
  const charset = ascii(content, 0, 8);
  if (charset.startsWith("UNICODE")) return utf16(text);
  return new TextDecoder().decode(text).replace(/\0+$/, "");
}

/**
 * Offset of a directory's entry.
 *
 * @param {DataView} view
 * @param {number} directory offset
 * @param {number} tag
 * @param {boolean} little whether bytes are in little-endian order
 * @returns {number | null}
 */
function entry(view, directory, tag, little) {
  const count = view.getUint16(directory, little);
  for (let index = 0; index < count; index++) {
    const place = directory + 2 + 12 * index;
    if (view.getUint16(place, little) === tag) return place;
  }
  return null;
}

/**
 * UTF-16 of either byte order: writers do not agree whether it is the file's. In most texts the high bytes are zero.
 *
 * @param {Uint8Array} bytes
 */
function utf16(bytes) {
  let high = 0;
  for (let place = 0; place < bytes.length; place++) if (bytes[place] === 0) high += place % 2 ? -1 : 1;
  const marked = bytes[0] === 0xff && bytes[1] === 0xfe;
  return new TextDecoder(marked || high < 0 ? "utf-16le" : "utf-16be").decode(bytes).replace(/\0+$/, "");
}

/** @param {Uint8Array} bytes @param {number} start @param {number} length */
function ascii(bytes, start, length) {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

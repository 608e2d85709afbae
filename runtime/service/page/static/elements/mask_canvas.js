import { make } from "./dom.js";

/** @typedef {import("./mask.js").Mask} Mask */

/** Stripes of painted pixels on the screen, which are seen on images of any colour: red, green, blue and alpha. */
const STRIPES = [
  [255, 0, 128, 150],
  [255, 255, 255, 150],
];
const STRIPES_ON_IMAGE = 60; // along its longer side
const OPAQUE = [0, 0, 0, 255];

/**
 * A canvas that shows a mask over its image.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Mask} mask
 * @returns {(box: import("./mask.js").Box) => void} draws a part of the mask again
 */
export function overlay(canvas, mask) {
  canvas.width = mask.width;
  canvas.height = mask.height;
  const context = canvas.getContext("2d");
  const stripe = Math.max(1, Math.ceil(Math.max(mask.width, mask.height) / STRIPES_ON_IMAGE));
  return ({ x, y, width, height }) => {
    const part = new ImageData(width, height);
    fill(part.data, mask, { x, y, width, height }, (painted, place) =>
      painted ? STRIPES[Math.floor(place / stripe) % 2] : null,
    );
    context?.putImageData(part, x, y);
  };
}

/**
 * PNG of the mask's size: transparent where it is painted, else black.
 *
 * @param {Mask} mask
 * @returns {Promise<Blob | null>} null where the browser cannot make it
 */
export function maskFile(mask) {
  const { width, height } = mask;
  const canvas = make("canvas", { width, height });
  const image = new ImageData(width, height);
  fill(image.data, mask, { x: 0, y: 0, width, height }, (painted) => (painted ? null : OPAQUE));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {Uint8ClampedArray} data RGBA of the box
 * @param {Mask} mask
 * @param {import("./mask.js").Box} box
 * @param {(painted: number, place: number) => number[] | null} colour of a pixel on the given diagonal; null: none
 */
function fill(data, mask, { x, y, width, height }, colour) {
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const rgba = colour(mask.pixels[(y + row) * mask.width + x + column], x + column + y + row);
      if (rgba) data.set(rgba, 4 * (row * width + column));
    }
  }
}

import { make } from "./dom.js";

/** @typedef {import("./mask.js").Mask} Mask */

const PAINT = [255, 0, 128, 140]; // red, green, blue and alpha of painted pixels on the screen

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
  return ({ x, y, width, height }) => {
    const part = new ImageData(width, height);
    fill(part.data, mask, { x, y, width, height }, (painted) => (painted ? PAINT : null));
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
  fill(image.data, mask, { x: 0, y: 0, width, height }, (painted) => (painted ? null : [0, 0, 0, 255]));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * @param {Uint8ClampedArray} data RGBA of the box
 * @param {Mask} mask
 * @param {import("./mask.js").Box} box
 * @param {(painted: number) => number[] | null} colour null is transparent
 */
function fill(data, mask, { x, y, width, height }, colour) {
  const colours = [colour(0), colour(1)];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const rgba = colours[mask.pixels[(y + row) * mask.width + x + column]];
      if (rgba) data.set(rgba, 4 * (row * width + column));
    }
  }
}

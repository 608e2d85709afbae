import { make } from "./dom.js";

const MARGIN = 16; // pixels
const FONT = 20;
const LINE = 26;
const MAX_SIDE = 16_384; // pixels that canvases of all browsers have

/**
 * One PNG of a grid of images, with a label over each column and left of each row.
 *
 * @param {Map<string, ImageBitmap>} images by column and row, as "0 2"
 * @param {string[]} columnLabels
 * @param {string[]} rowLabels
 * @returns {Promise<Blob | null>} null where the browser cannot make it
 */
export function drawSheet(images, columnLabels, rowLabels) {
  const cellWidth = Math.max(...[...images.values()].map((image) => image.width));
  const cellHeight = Math.max(...[...images.values()].map((image) => image.height));
  const left = rowLabels.some(Boolean) ? MARGIN + Math.min(240, Math.max(96, cellWidth / 2)) : MARGIN;
  const top = columnLabels.some(Boolean) ? MARGIN + 2 * LINE : MARGIN;
  const width = left + columnLabels.length * (cellWidth + MARGIN);
  const height = top + rowLabels.length * (cellHeight + MARGIN);
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  const canvas = make("canvas", { width: Math.floor(width * scale), height: Math.floor(height * scale) });
  const context = canvas.getContext("2d");
  if (!context) return Promise.resolve(null);
  context.scale(scale, scale);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#000";
  context.font = `${FONT}px system-ui, sans-serif`;
  context.textBaseline = "top";
  columnLabels.forEach((label, x) => write(context, label, left + x * (cellWidth + MARGIN), MARGIN, cellWidth, 2));
  rowLabels.forEach((label, y) => {
    const lines = Math.max(1, Math.floor(cellHeight / LINE));
    write(context, label, MARGIN, top + y * (cellHeight + MARGIN), left - 2 * MARGIN, lines);
  });
  for (const [place, image] of images) {
    const [x, y] = place.split(" ").map(Number);
    context.drawImage(image, left + x * (cellWidth + MARGIN), top + y * (cellHeight + MARGIN));
    image.close();
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/**
 * Text in lines of a width, cut at the last one.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} lines at most
 */
function write(context, text, x, y, width, lines) {
  let rest = [...text];
  for (let line = 0; line < lines && rest.length; line++) {
    let end = rest.length;
    while (end > 1 && context.measureText(rest.slice(0, end).join("")).width > width) end--;
    const space = rest.lastIndexOf(" ", end - 1);
    if (end < rest.length && space > 0 && line < lines - 1) end = space + 1;
    const cut = end < rest.length && line === lines - 1;
    context.fillText((cut ? [...rest.slice(0, end - 1), "…"] : rest.slice(0, end)).join(""), x, y + line * LINE);
    rest = rest.slice(end);
  }
}

/**
 * A mask of an image's size, painted with a round brush: exactly the pixels whose centres are within the brush's radius
 * of the stroke. Strokes can be undone, as long as what they changed fits into MAX_BYTES.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Box in pixels
 * @typedef {{box: Box, flips: Uint8Array}} Change 1 where a pixel of the box changed
 */

const MAX_BYTES = 32 << 20;

export class Mask {
  /** @type {Change[]} */
  #done = [];
  /** @type {Change[]} */
  #undone = [];
  /** @type {{before: Uint8Array, box: Box | null, value: number, radius: number, x: number, y: number} | null} */
  #stroke = null;

  /** @param {number} width @param {number} height in pixels */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    /** Row by row: 1 where it is painted, else 0. @type {Uint8Array} */
    this.pixels = new Uint8Array(width * height);
  }

  get empty() {
    return !this.pixels.includes(1);
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /**
   * Begin a stroke with a dot.
   *
   * @param {number} x
   * @param {number} y
   * @param {number} radius in pixels
   * @param {boolean} erase
   * @returns {Box | null} pixels that may have changed
   */
  begin(x, y, radius, erase) {
    this.#stroke = { before: this.pixels.slice(), box: null, value: erase ? 0 : 1, radius, x, y };
    return this.extend(x, y);
  }

  /**
   * Extend the stroke in a straight line.
   *
   * @param {number} x
   * @param {number} y
   * @returns {Box | null} pixels that may have changed
   */
  extend(x, y) {
    const stroke = this.#stroke;
    if (!stroke) return null;
    const box = this.#clip(
      Math.floor(Math.min(x, stroke.x) - stroke.radius),
      Math.floor(Math.min(y, stroke.y) - stroke.radius),
      Math.ceil(Math.max(x, stroke.x) + stroke.radius),
      Math.ceil(Math.max(y, stroke.y) + stroke.radius),
    );
    if (box) this.#line(stroke, x, y, box);
    stroke.box = union(stroke.box, box);
    stroke.x = x;
    stroke.y = y;
    return box;
  }

  /** End the stroke: from now on it can be undone. */
  end() {
    const stroke = this.#stroke;
    this.#stroke = null;
    if (stroke?.box) this.#record(stroke.box, stroke.before);
  }

  /** Take the stroke back that is not ended yet. @returns {Box | null} */
  cancel() {
    const stroke = this.#stroke;
    this.#stroke = null;
    if (stroke) this.pixels = stroke.before;
    return stroke?.box ?? null;
  }

  /** Erase everything, as one stroke. @returns {Box | null} */
  clear() {
    if (this.empty) return null;
    const before = this.pixels;
    const box = { x: 0, y: 0, width: this.width, height: this.height };
    this.pixels = new Uint8Array(before.length);
    this.#record(box, before);
    return box;
  }

  /** @returns {Box | null} */
  undo() {
    return this.#move(this.#done, this.#undone);
  }

  /** @returns {Box | null} */
  redo() {
    return this.#move(this.#undone, this.#done);
  }

  /**
   * @param {{value: number, radius: number, x: number, y: number}} from
   * @param {number} x
   * @param {number} y
   * @param {Box} box pixels that are looked at
   */
  #line(from, x, y, box) {
    const [dx, dy] = [x - from.x, y - from.y];
    const length2 = dx * dx + dy * dy;
    const radius2 = from.radius * from.radius;
    for (let row = box.y; row < box.y + box.height; row++) {
      for (let column = box.x; column < box.x + box.width; column++) {
        const [px, py] = [column + 0.5 - from.x, row + 0.5 - from.y];
        const along = length2 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
        const [ex, ey] = [px - along * dx, py - along * dy];
        if (ex * ex + ey * ey <= radius2) this.pixels[row * this.width + column] = from.value;
      }
    }
  }

  /** @param {number} left @param {number} top @param {number} right @param {number} bottom @returns {Box | null} */
  #clip(left, top, right, bottom) {
    const [x, y] = [Math.max(0, left), Math.max(0, top)];
    const [width, height] = [Math.min(this.width, right) - x, Math.min(this.height, bottom) - y];
    return width > 0 && height > 0 ? { x, y, width, height } : null;
  }

  /** @param {Box} box @param {Uint8Array} before the whole mask before the change */
  #record(box, before) {
    const flips = new Uint8Array(box.width * box.height);
    this.#visit(box, (place, index) => (flips[index] = before[place] ^ this.pixels[place]));
    this.#undone = [];
    this.#done.push({ box, flips });
    let bytes = 0;
    const first = this.#done.findLastIndex((change) => (bytes += change.flips.length) > MAX_BYTES);
    this.#done.splice(0, Math.min(first + 1, this.#done.length - 1));
  }

  /** Flip the pixels of the last change again. @param {Change[]} from @param {Change[]} to */
  #move(from, to) {
    const change = from.pop();
    if (!change) return null;
    to.push(change);
    this.#visit(change.box, (place, index) => (this.pixels[place] ^= change.flips[index]));
    return change.box;
  }

  /** @param {Box} box @param {(place: number, index: number) => void} visit place in the mask, and in the box */
  #visit({ x, y, width, height }, visit) {
    for (let index = 0; index < width * height; index++) {
      visit((y + Math.floor(index / width)) * this.width + x + (index % width), index);
    }
  }
}

/** @param {Box | null} first @param {Box | null} second @returns {Box | null} */
function union(first, second) {
  if (!first || !second) return first ?? second;
  const [x, y] = [Math.min(first.x, second.x), Math.min(first.y, second.y)];
  const right = Math.max(first.x + first.width, second.x + second.width);
  const bottom = Math.max(first.y + first.height, second.y + second.height);
  return { x, y, width: right - x, height: bottom - y };
}

/** A content that is larger or smaller than the stage that shows it: where it is, and at which scale. */

const MAX_SCALE = 16;
const STEP = 1.25;

export class PanZoom {
  #stage;
  #content;
  #changed;
  #width = 1;
  #height = 1;
  #x = 0;
  #y = 0;
  #scale = 1;
  #fitted = true;

  /**
   * @param {HTMLElement} stage
   * @param {HTMLElement} content a child of the stage; its transform is set
   * @param {() => void} [changed] called after each change
   */
  constructor(stage, content, changed = () => {}) {
    this.#stage = stage;
    this.#content = content;
    this.#changed = changed;
    new ResizeObserver(() => (this.#fitted ? this.fit() : this.#move())).observe(stage);
  }

  /** CSS pixels of one pixel of the content. */
  get scale() {
    return this.#scale;
  }

  /** Whether the whole content is shown. */
  get fitted() {
    return this.#fitted;
  }

  /** @param {number} width of the content @param {number} height */
  resize(width, height) {
    this.#width = width;
    this.#height = height;
    this.#content.style.width = `${width}px`;
    this.#content.style.height = `${height}px`;
    this.fit();
  }

  fit() {
    this.#fitted = true;
    this.#scale = this.#fittingScale();
    this.#move();
  }

  /** One pixel of the content on one of the screen. */
  actual() {
    this.zoom(1 / devicePixelRatio / this.#scale);
  }

  /**
   * Zoom about a place of the window that stays where it is; default: the middle of the stage.
   *
   * @param {number} factor
   * @param {number} [clientX]
   * @param {number} [clientY]
   */
  zoom(factor, clientX, clientY) {
    const [left, top] = this.#origin();
    const x = clientX === undefined ? this.#stage.clientWidth / 2 : clientX - left;
    const y = clientY === undefined ? this.#stage.clientHeight / 2 : clientY - top;
    const smallest = Math.min(this.#fittingScale(), 1 / devicePixelRatio);
    const scale = Math.min(Math.max(this.#scale * factor, smallest), Math.max(MAX_SCALE, smallest));
    this.#x = x - ((x - this.#x) * scale) / this.#scale;
    this.#y = y - ((y - this.#y) * scale) / this.#scale;
    this.#scale = scale;
    this.#fitted = scale === this.#fittingScale();
    this.#move();
  }

  zoomIn() {
    this.zoom(STEP);
  }

  zoomOut() {
    this.zoom(1 / STEP);
  }

  /** @param {number} dx @param {number} dy in CSS pixels */
  pan(dx, dy) {
    this.#x += dx;
    this.#y += dy;
    this.#move();
  }

  /**
   * Place in the content of a place in the window.
   *
   * @param {number} clientX
   * @param {number} clientY
   * @returns {[number, number]}
   */
  inContent(clientX, clientY) {
    const [left, top] = this.#origin();
    return [(clientX - left - this.#x) / this.#scale, (clientY - top - this.#y) / this.#scale];
  }

  /**
   * Place in the stage of a place in the content, in CSS pixels.
   *
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  inStage(x, y) {
    return [x * this.#scale + this.#x, y * this.#scale + this.#y];
  }

  /** Place of the stage's corner in the window, inside of its border. */
  #origin() {
    const { x, y } = this.#stage.getBoundingClientRect();
    return [x + this.#stage.clientLeft, y + this.#stage.clientTop];
  }

  #fittingScale() {
    const { clientWidth, clientHeight } = this.#stage;
    return Math.min(clientWidth / this.#width, clientHeight / this.#height, MAX_SCALE) || 1;
  }

  #move() {
    this.#x = within(this.#x, this.#stage.clientWidth, this.#width * this.#scale);
    this.#y = within(this.#y, this.#stage.clientHeight, this.#height * this.#scale);
    this.#content.style.transform = `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    this.#content.style.imageRendering = this.#scale * devicePixelRatio >= 3 ? "pixelated" : "auto";
    this.#changed();
  }
}

/**
 * Offset with the content in the middle where it is smaller than the stage, else without a gap at either side.
 *
 * @param {number} offset
 * @param {number} stage
 * @param {number} content
 */
function within(offset, stage, content) {
  return content <= stage ? (stage - content) / 2 : Math.min(0, Math.max(stage - content, offset));
}

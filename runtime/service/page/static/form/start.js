/** The image to start from, and the mask that is painted on it. */

import "../elements/mask_painter.js";
import { control, showPercent } from "./controls.js";

/** @typedef {import("../elements/mask_painter.js").MaskPainter} MaskPainter */

/** Event: `change`, when there is another image, or none. */
export class StartControls extends EventTarget {
  #details = control("start", HTMLDetailsElement);
  #settings = control("start-settings", HTMLElement);
  #remove = control("remove", HTMLButtonElement);
  #file = control("file", HTMLInputElement);
  #strength = control("strength", HTMLInputElement);
  #showStrength = showPercent(this.#strength, control("strength-value", HTMLOutputElement));
  #painter = /** @type {MaskPainter} */ (control("painter", HTMLElement));
  /** @type {Blob | null} */
  #image = null;
  #offered = false;

  constructor() {
    super();
    control("choose", HTMLButtonElement).addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => {
      const [file] = this.#file.files ?? [];
      this.#file.value = "";
      if (file) this.#chosen(file);
    });
    this.#remove.addEventListener("click", () => this.clear());
  }

  /** Whether the model starts from images. */
  get offered() {
    return this.#offered;
  }

  /** @param {import("../api/service.js").Model} model */
  offer(model) {
    const masks = model.fields.includes("mask");
    this.#offered = model.tasks.some((task) => task !== "text-to-image" && task !== "upscaling");
    this.#details.hidden = !this.#offered;
    this.#painter.hidden = !masks;
    if (!this.#offered) this.clear();
    this.strength = model.defaults.strength;
  }

  get strength() {
    return Number(this.#strength.value);
  }

  set strength(value) {
    this.#strength.value = String(value);
    this.#showStrength();
  }

  /**
   * Start from an image; an empty mask.
   *
   * @param {Blob} blob
   * @throws {DOMException} it is not an image
   */
  async load(blob) {
    await this.#painter.load(blob);
    this.#image = blob;
    this.#details.open = true;
    this.#update();
  }

  clear() {
    this.#image = null;
    this.#update();
  }

  /** @returns {Promise<import("../jobs/job.js").Start | null>} */
  async start() {
    return this.#image && { image: this.#image, mask: this.#painter.hidden ? null : await this.#painter.mask() };
  }

  get hasImage() {
    return this.#image !== null;
  }

  /** @param {File} file */
  async #chosen(file) {
    try {
      await this.load(file);
    } catch {
      this.dispatchEvent(new CustomEvent("refused", { detail: `${file.name} is not an image that this browser can read.` }));
    }
  }

  #update() {
    this.#settings.hidden = this.#remove.hidden = !this.#image;
    this.dispatchEvent(new Event("change"));
  }
}

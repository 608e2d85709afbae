/** Width and height, with a button for each ratio that the model suggests. */

import { button } from "../elements/dom.js";
import { control } from "./controls.js";

/** @typedef {import("../api/service.js").Model} Model */

const RATIOS = ["1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"];

export class SizeControls {
  #width = control("width", HTMLInputElement);
  #height = control("height", HTMLInputElement);
  #ratios = control("ratios", HTMLElement);
  #swap = control("swap", HTMLButtonElement);
  #default = "";

  constructor() {
    this.#swap.addEventListener("click", () => {
      this.value = `${this.#height.value}x${this.#width.value}`;
      this.#width.dispatchEvent(new Event("input", { bubbles: true }));
    });
    for (const side of [this.#width, this.#height]) side.addEventListener("input", () => this.#mark());
  }

  /** WIDTHxHEIGHT; that of the model where a side is empty. */
  get value() {
    const [width, height] = [this.#width.value, this.#height.value];
    return width && height ? `${Number(width)}x${Number(height)}` : this.#default;
  }

  set value(size) {
    [this.#width.value, this.#height.value] = (size === "auto" ? this.#default : size).split("x");
    this.#mark();
  }

  /** @param {Model} model */
  offer({ sizes, defaults }) {
    this.#default = defaults.size;
    for (const side of [this.#width, this.#height]) {
      side.readOnly = sizes.fixed;
      side.step = side.min = String(sizes.multiple);
    }
    this.#swap.disabled = sizes.fixed;
    const buttons = sizes.suggested.map((size) => {
      const [width, height] = size.split("x").map(Number);
      const choose = button(ratio(width, height), () => {
        this.value = size;
        this.#width.dispatchEvent(new Event("input", { bubbles: true }));
      }, { label: `${width} × ${height}` });
      choose.dataset.size = size;
      return choose;
    });
    this.#ratios.replaceChildren(...buttons);
    this.#ratios.hidden = sizes.fixed || buttons.length < 2;
  }

  #mark() {
    for (const each of this.#ratios.querySelectorAll("button")) {
      each.setAttribute("aria-pressed", String(each.dataset.size === this.value));
    }
  }
}

/** The ratio that is nearest. @param {number} width @param {number} height */
function ratio(width, height) {
  const error = (/** @type {string} */ name) => {
    const [x, y] = name.split(":").map(Number);
    return Math.abs(Math.log((width * y) / (height * x)));
  };
  return RATIOS.reduce((best, each) => (error(each) < error(best) ? each : best));
}

/** The stage: the images that were drawn last. */

import { button, make, showBlob } from "../elements/dom.js";
import { walkWithArrows } from "./items.js";

/** @typedef {import("./items.js").Item} Item */

/** Event: `open` (detail: {items, index}), when an image is chosen. */
export class Stage extends EventTarget {
  #place = /** @type {HTMLElement} */ (document.getElementById("shown"));
  #empty = this.#place.firstElementChild;
  /** @type {Item[]} */
  #items = [];

  constructor() {
    super();
    walkWithArrows(this.#place);
  }

  /** @param {Item[]} items */
  show(items) {
    for (const image of this.#place.querySelectorAll("img")) showBlob(image, null);
    this.#items = items;
    const figures = items.map((item, index) => this.#figure(item, index));
    const images = make("div", { class: items.length > 1 ? "images small" : "images" }, ...figures);
    this.#place.replaceChildren(items.length ? images : /** @type {Element} */ (this.#empty));
  }

  /** @param {number[]} ids */
  drop(ids) {
    if (this.#items.some(({ id }) => id !== null && ids.includes(id))) {
      this.show(this.#items.filter(({ id }) => id === null || !ids.includes(id)));
    }
  }

  /** @param {Item} item @param {number} index */
  #figure({ blob, settings, seed }, index) {
    const image = make("img", { alt: String(settings.prompt ?? "") });
    showBlob(image, blob);
    const open = button("", () => this.dispatchEvent(new CustomEvent("open", { detail: { items: this.#items, index } })), {
      label: `Open image ${index + 1}, seed ${seed}`,
      kind: "image",
    });
    open.dataset.item = "";
    open.replaceChildren(image);
    const copy = button("Copy", () => navigator.clipboard?.writeText(String(seed)), { label: `Copy seed ${seed}`, kind: "quiet" });
    return make("figure", {}, open, make("figcaption", {}, `Seed ${seed}`, copy));
  }
}

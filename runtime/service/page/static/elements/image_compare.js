import { attach, button, make, showBlob } from "./dom.js";

/** @typedef {{left: Blob, right: Blob, leftLabel: string, rightLabel: string}} Pair */

const percent = new Intl.NumberFormat(undefined, { style: "percent" });

/** `<image-compare>`: two images in one place under a divider that moves, or side by side. */
export class ImageCompare extends HTMLElement {
  #left = make("img", { alt: "", draggable: "false" });
  #right = make("img", { alt: "", draggable: "false" });
  #leftLabel = make("figcaption");
  #rightLabel = make("figcaption");
  #divider = make("div", {
    class: "divider",
    role: "slider",
    tabindex: "0",
    "aria-label": "Divider between the images",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  });
  #frame = make(
    "div",
    { class: "frame" },
    make("figure", { class: "left" }, this.#left, this.#leftLabel),
    make("figure", { class: "right" }, this.#right, this.#rightLabel),
    this.#divider,
  );
  #toggle = button("Side by side", () => this.#setApart(!this.#apart));
  #apart = false;
  #share = 50; // percent of the width that shows the left image

  constructor() {
    super();
    attach(this, "image_compare", make("div", { class: "bar" }, this.#toggle), this.#frame);
    this.#frame.addEventListener("pointerdown", (event) => {
      if (this.#apart || event.button) return;
      this.#frame.setPointerCapture(event.pointerId);
      this.#moveTo(event);
      this.#divider.focus({ preventScroll: true });
      event.preventDefault();
    });
    this.#frame.addEventListener("pointermove", (event) => {
      if (this.#frame.hasPointerCapture(event.pointerId)) this.#moveTo(event);
    });
    this.#divider.addEventListener("keydown", (event) => this.#key(event));
    this.#left.addEventListener("load", () => {
      this.#frame.style.setProperty("--ratio", `${this.#left.naturalWidth} / ${this.#left.naturalHeight}`);
    });
    this.#setApart(false);
    this.#move(50);
  }

  /** @param {Pair} pair */
  show({ left, right, leftLabel, rightLabel }) {
    showBlob(this.#left, left);
    showBlob(this.#right, right);
    this.#left.alt = this.#leftLabel.textContent = leftLabel;
    this.#right.alt = this.#rightLabel.textContent = rightLabel;
    this.#move(50);
  }

  /** @param {boolean} apart */
  #setApart(apart) {
    this.#apart = apart;
    this.#toggle.setAttribute("aria-pressed", String(apart));
    this.#frame.classList.toggle("apart", apart);
    this.#divider.hidden = apart;
  }

  /** @param {PointerEvent} event */
  #moveTo(event) {
    const box = this.#frame.getBoundingClientRect();
    this.#move((100 * (event.clientX - box.x)) / box.width);
  }

  /** @param {number} share */
  #move(share) {
    this.#share = Math.min(100, Math.max(0, share));
    this.#frame.style.setProperty("--share", `${this.#share}%`);
    this.#divider.setAttribute("aria-valuenow", String(Math.round(this.#share)));
    this.#divider.setAttribute("aria-valuetext", `${percent.format(this.#share / 100)} of the left image`);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[event.key];
    if (step) this.#move(Math.round(this.#share) + step);
    else if (event.key === "Home") this.#move(0);
    else if (event.key === "End") this.#move(100);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

customElements.define("image-compare", ImageCompare);

import { describe } from "../settings/labels.js";
import { attach, button, make, showBlob } from "./dom.js";
import { PanZoom } from "./pan_zoom.js";
import { followPointers } from "./pointers.js";

/** @typedef {{id: unknown, blob: Blob, seed: number | string, settings: Record<string, unknown>}} Item */

/** Name of an action -> text of its button. @type {Readonly<Record<string, string>>} */
const ACTIONS = {
  download: "Download",
  restore: "Use these settings",
  start: "Use as start",
  variations: "Variations",
  upscale: "Upscale",
  compare: "Compare",
  delete: "Delete",
};

const SWIPE = 60; // CSS pixels
const PAN = 80;
const numbers = new Intl.NumberFormat();

/**
 * `<large-view actions="download delete">`: one image of several, as large as the window, with its settings.
 *
 * Events: `move` (detail: {item, index}), `action` (detail: {name, item}) and `close`.
 */
export class LargeView extends HTMLElement {
  #image = make("img", { class: "content", alt: "", draggable: "false" });
  #stage = make("div", { class: "stage" }, this.#image);
  #view = new PanZoom(this.#stage, this.#image, () => this.#describeZoom());
  #place = make("p", { class: "place", role: "status" });
  #settings = make("dl");
  #actions = make("div", { class: "bar actions", role: "group", "aria-label": "Actions" });
  #actual = button("1:1", () => this.#toggleActual(), { label: "1:1, actual size", keys: "1" });
  #previous = button("‹", () => this.#show(this.#index - 1), {
    label: "Previous image",
    keys: "ArrowLeft",
    kind: "previous",
  });
  #next = button("›", () => this.#show(this.#index + 1), { label: "Next image", keys: "ArrowRight", kind: "next" });
  #dialog = make(
    "dialog",
    { "aria-label": "Image", tabindex: "-1" },
    make(
      "header",
      { class: "bar" },
      this.#place,
      button("−", () => this.#view.zoomOut(), { label: "Zoom out", keys: "-" }),
      this.#actual,
      button("+", () => this.#view.zoomIn(), { label: "Zoom in", keys: "+" }),
      button("✕", () => this.close(), { label: "Close", keys: "Escape" }),
    ),
    make("div", { class: "frame" }, this.#stage, this.#previous, this.#next),
    make("section", { class: "settings", "aria-label": "Settings", tabindex: "0" }, this.#settings),
    this.#actions,
  );
  /** @type {Item[]} */
  #items = [];
  #index = 0;

  constructor() {
    super();
    attach(this, "large_view", this.#dialog);
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#image.addEventListener("load", () => this.#view.resize(this.#image.naturalWidth, this.#image.naturalHeight));
    this.#stage.addEventListener("dblclick", () => this.#toggleActual());
    this.#followSingle();
  }

  static get observedAttributes() {
    return ["actions"];
  }

  attributeChangedCallback() {
    this.#actions.replaceChildren(
      ...this.actions.map((name) =>
        button(ACTIONS[name], () => this.#emit("action", { name, item: this.item }), {
          kind: name === "delete" ? "danger" : undefined,
        }),
      ),
    );
  }

  /** Names of the buttons, in their order. @returns {string[]} */
  get actions() {
    return (this.getAttribute("actions") ?? "").split(/\s+/).filter((name) => Object.hasOwn(ACTIONS, name));
  }

  set actions(names) {
    this.setAttribute("actions", names.join(" "));
  }

  /** The item that is shown. @returns {Item | undefined} */
  get item() {
    return this.#items[this.#index];
  }

  /**
   * @param {Item[]} items
   * @param {number} [index]
   */
  open(items, index = 0) {
    this.#items = [...items];
    if (!this.#items.length) return;
    if (!this.#dialog.open) {
      this.#dialog.showModal();
      this.#dialog.focus(); // not on the first button, so that its keys and its name come first
    }
    this.#show(index, true);
  }

  close() {
    this.#dialog.close();
  }

  /**
   * Take an item out, and show the one after it; close after the last.
   *
   * @param {unknown} id
   */
  drop(id) {
    const place = this.#items.findIndex((item) => item.id === id);
    if (place < 0) return;
    this.#items.splice(place, 1);
    if (!this.#items.length) this.close();
    else this.#show(Math.min(place < this.#index ? this.#index - 1 : this.#index, this.#items.length - 1), true);
  }

  /** @param {number} index @param {boolean} [again] */
  #show(index, again = false) {
    const place = Math.min(Math.max(index, 0), this.#items.length - 1);
    if (place === this.#index && !again) return;
    this.#index = place;
    const { blob, seed, settings } = this.#items[place];
    const count = `${numbers.format(place + 1)} of ${numbers.format(this.#items.length)}`;
    this.#place.textContent = `${count}, seed ${seed}`;
    this.#image.alt =
      typeof settings.prompt === "string" && settings.prompt ? settings.prompt : "Image without a prompt";
    showBlob(this.#image, blob);
    this.#settings.replaceChildren(
      ...describe({ ...settings, seed }).flatMap(({ label, value }) => [make("dt", {}, label), make("dd", {}, value)]),
    );
    this.#disable(this.#previous, place === 0, this.#next);
    this.#disable(this.#next, place === this.#items.length - 1, this.#previous);
    this.#emit("move", { item: this.item, index: place });
  }

  /** @param {HTMLButtonElement} control @param {boolean} disabled @param {HTMLButtonElement} other */
  #disable(control, disabled, other) {
    const focused = this.shadowRoot?.activeElement === control; // a disabled button would lose the focus
    control.disabled = disabled;
    if (disabled && focused) other.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [x, y] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    const inSettings = event.target instanceof Element && event.target.closest(".settings");
    if (event.shiftKey && (x || y)) this.#view.pan(x * PAN, y * PAN);
    else if (x) this.#show(this.#index - x);
    else if (event.key === "Home" && !inSettings) this.#show(0);
    else if (event.key === "End" && !inSettings) this.#show(this.#items.length - 1);
    else if (event.key === "+" || event.key === "=") this.#view.zoomIn();
    else if (event.key === "-") this.#view.zoomOut();
    else if (event.key === "0") this.#view.fit();
    else if (event.key === "1") this.#toggleActual();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #followSingle() {
    let startX = 0;
    let startY = 0;
    let [x, y] = [0, 0];
    followPointers(this.#stage, this.#view, {
      start: (event) => {
        [startX, startY] = [x, y] = [event.clientX, event.clientY];
      },
      move: (event) => {
        if (!this.#view.fitted) this.#view.pan(event.clientX - x, event.clientY - y);
        [x, y] = [event.clientX, event.clientY];
      },
      end: (event) => {
        const [dx, dy] = [event.clientX - startX, event.clientY - startY];
        const swiped = this.#view.fitted && Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy);
        if (swiped) this.#show(this.#index - Math.sign(dx));
      },
      cancel() {},
    });
  }

  #toggleActual() {
    if (this.#view.fitted) this.#view.actual();
    else this.#view.fit();
  }

  #describeZoom() {
    this.#actual.setAttribute("aria-pressed", String(!this.#view.fitted));
    this.#stage.classList.toggle("zoomed", !this.#view.fitted);
  }

  #closed() {
    showBlob(this.#image, null);
    this.#items = [];
    this.#emit("close");
  }

  /** @param {string} name @param {unknown} [detail] */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

customElements.define("large-view", LargeView);

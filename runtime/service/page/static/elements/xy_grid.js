import { attach, button, make, saveBlob, showBlob } from "./dom.js";
import { axesOf, AxisError } from "./xy_axes.js";
import { drawSheet } from "./xy_sheet.js";

/** @typedef {import("./xy_axes.js").Axis} Axis */
/** @typedef {{x: number, y: number, values: Record<string, unknown>}} Job */
/** @typedef {{select: HTMLSelectElement, input: HTMLInputElement, hint: HTMLElement}} Control */
/** @typedef {{axis: Axis | null, values: unknown[], labels: string[]}} Side */

const MAX_IMAGES = 100;
const numbers = new Intl.NumberFormat();
const ONE = { axis: null, values: [null], labels: [""] };

/**
 * `<xy-grid>`: images of all combinations of the values of two settings.
 *
 * Event: `run`, when the user starts the grid; `jobs()` then says which images it consists of, and `put` places each.
 */
export class XyGrid extends HTMLElement {
  #x = this.#control("Columns");
  #y = this.#control("Rows");
  #count = make("p", { class: "count", role: "status" });
  #run = button("Draw the grid", () => this.#start(), { kind: "primary" });
  #save = button("Save as one image", () => this.#download());
  #table = make("table", {}, make("caption", { class: "unseen" }, "Grid of images"));
  #result = make(
    "div",
    { class: "result", tabindex: "0", role: "group", "aria-label": "Grid", hidden: true },
    this.#table,
  );
  /** @type {Axis[]} */
  #axes = [];
  /** @type {Record<string, unknown>} */
  #settings = {};
  /** Sides of the grid that is shown. @type {{x: Side, y: Side}} */
  #shown = { x: ONE, y: ONE };
  /** @type {Map<string, {blob: Blob, image: HTMLImageElement}>} */
  #cells = new Map();

  constructor() {
    super();
    attach(
      this,
      "xy_grid",
      make("div", { class: "axes" }, this.#x.root, this.#y.root),
      this.#count,
      make("div", { class: "bar" }, this.#run, this.#save),
      this.#result,
    );
    this.#save.disabled = true;
    this.#update();
  }

  /**
   * Offer what a model can vary; the other settings of all images are those of `values`.
   *
   * @param {import("./xy_axes.js").Model} model of /v1/models
   * @param {Record<string, unknown>} values by field of the HTTP API
   */
  setFields(model, values) {
    this.#settings = { ...values };
    this.#axes = axesOf(model, values);
    for (const { select } of [this.#x, this.#y]) {
      const chosen = select.value;
      const options = this.#axes.map(({ name, label }) => make("option", { value: name }, label));
      select.replaceChildren(make("option", { value: "" }, "Nothing"), ...options);
      select.value = this.#axes.some(({ name }) => name === chosen) ? chosen : "";
    }
    this.#update();
  }

  /**
   * The images of the grid, row by row; none where an axis cannot be read or there are too many.
   *
   * @returns {Job[]}
   */
  jobs() {
    const sides = this.#sides();
    return sides ? this.#jobs(sides) : [];
  }

  /**
   * Show an image of the grid that is drawn.
   *
   * @param {number} x column
   * @param {number} y row
   * @param {Blob} blob
   */
  put(x, y, blob) {
    const cell = this.#cell(x, y);
    if (!cell) return;
    const names = [this.#shown.x.labels[x], this.#shown.y.labels[y]].filter(Boolean);
    const image = make("img", { alt: names.join(", ") || "Image" });
    showBlob(image, blob);
    cell.replaceChildren(image);
    this.#cells.set(`${x} ${y}`, { blob, image });
    this.#save.disabled = false;
  }

  /** One PNG of the grid, with labels; null without an image. @returns {Promise<Blob | null>} */
  async toBlob() {
    if (!this.#cells.size) return null;
    const { x, y } = this.#shown;
    const images = new Map();
    for (const [place, { blob }] of this.#cells) images.set(place, await createImageBitmap(blob));
    return drawSheet(images, x.labels, y.labels);
  }

  /** @param {string} name */
  #control(name) {
    const id = name.toLowerCase();
    const select = make("select", { id, "aria-label": `${name}: setting` }, make("option", { value: "" }, "Nothing"));
    const input = make("input", {
      type: "text",
      "aria-label": `${name}: values`,
      "aria-describedby": `${id}-hint`,
      autocomplete: "off",
    });
    const hint = make("p", { class: "hint", id: `${id}-hint` });
    for (const control of [select, input]) control.addEventListener("input", () => this.#update());
    input.addEventListener("keydown", (event) => event.key === "Enter" && !event.ctrlKey && this.#run.click());
    return { root: make("fieldset", {}, make("legend", {}, name), select, input, hint), select, input, hint };
  }

  /** @param {Control} control @returns {Side | null} null where its values cannot be read */
  #side({ select, input, hint }) {
    const axis = this.#axes.find(({ name }) => name === select.value);
    input.hidden = hint.hidden = !axis;
    input.removeAttribute("aria-invalid");
    if (!axis) return ONE;
    hint.textContent = `For example ${axis.hint}`;
    try {
      const values = axis.values(input.value, this.#settings);
      const labels = values.map((value) => `${axis.name === "replacement" ? "" : `${axis.label}: `}${value}`);
      return values.length ? { axis, values, labels } : null;
    } catch (error) {
      if (!(error instanceof AxisError)) throw error;
      hint.textContent = error.message;
      input.setAttribute("aria-invalid", "true");
      return null;
    }
  }

  /** @returns {{x: Side, y: Side} | null} */
  #sides() {
    const [x, y] = [this.#side(this.#x), this.#side(this.#y)];
    const same = x?.axis && x.axis === y?.axis;
    const fits = x && y && !same && x.values.length * y.values.length <= MAX_IMAGES;
    return fits && (x.axis || y.axis) ? { x, y } : null;
  }

  /** @param {{x: Side, y: Side}} sides @returns {Job[]} */
  #jobs({ x, y }) {
    return y.values.flatMap((rowValue, row) =>
      x.values.map((columnValue, column) => {
        const inRow = y.axis ? y.axis.apply(this.#settings, rowValue, y.values) : this.#settings;
        const values = x.axis ? x.axis.apply(inRow, columnValue, x.values) : inRow;
        return { x: column, y: row, values: { ...values, n: 1 } };
      }),
    );
  }

  #update() {
    const [x, y] = [this.#side(this.#x), this.#side(this.#y)];
    this.#run.disabled = this.#sides() === null;
    this.#count.textContent = countOf(x, y);
  }

  #start() {
    const sides = this.#sides();
    if (!sides) return;
    this.#shown = sides;
    for (const { image } of this.#cells.values()) showBlob(image, null);
    this.#cells.clear();
    this.#save.disabled = true;
    this.#result.hidden = false;
    const { x, y } = sides;
    const head = make("tr", {}, make("td"), ...x.labels.map((label) => make("th", { scope: "col" }, label)));
    const rows = y.labels.map((label) =>
      make("tr", {}, make("th", { scope: "row" }, label), ...x.labels.map(() => make("td", { class: "cell" }, "…"))),
    );
    this.#table.replaceChildren(
      make("caption", { class: "unseen" }, "Grid of images"),
      make("tbody", {}, head, ...rows),
    );
    this.dispatchEvent(new Event("run"));
  }

  /** @param {number} x @param {number} y @returns {HTMLTableCellElement | undefined} */
  #cell(x, y) {
    return this.#table.rows[y + 1]?.cells[x + 1];
  }

  async #download() {
    const blob = await this.toBlob();
    if (blob) saveBlob(blob, "grid.png");
  }
}

/** @param {Side | null} x @param {Side | null} y */
function countOf(x, y) {
  if (x?.axis && x.axis === y?.axis) return "Choose two different settings.";
  if (!x || !y) return "Type the values of each setting.";
  if (!x.axis && !y.axis) return "Choose a setting to vary.";
  const count = x.values.length * y.values.length;
  const [columns, rows, all] = [x.values.length, y.values.length, count].map((each) => numbers.format(each));
  const images = `${columns} × ${rows} = ${all} images`;
  return count > MAX_IMAGES ? `${images}; allowed: ${numbers.format(MAX_IMAGES)}.` : images;
}

customElements.define("xy-grid", XyGrid);

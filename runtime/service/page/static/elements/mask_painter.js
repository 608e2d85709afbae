import { attach, button, make } from "./dom.js";
import { Mask } from "./mask.js";
import { maskFile, overlay } from "./mask_canvas.js";
import { PanZoom } from "./pan_zoom.js";
import { followPointers } from "./pointers.js";

const DESCRIPTION = `Paint where the image changes; drag with Space held to move the image. With the keyboard: arrow
keys move a cursor, with Shift by one pixel; hold Space to paint; B is the brush, E the eraser; [ and ] change the brush
size; plus, minus and 0 zoom; Control+Z takes a stroke back.`;
const BRUSH = 0.12; // of the shorter side, in the beginning
const BRUSH_STEP = 1.2;
const ANNOUNCE = 400; // milliseconds without a key
const numbers = new Intl.NumberFormat();

/**
 * `<mask-painter>`: an image, and a mask painted on it.
 *
 * Event: `change`, after each stroke, undo, redo and clear.
 */
export class MaskPainter extends HTMLElement {
  #image = make("canvas", {});
  #overlay = make("canvas", {});
  #content = make("div", { class: "content" }, this.#image, this.#overlay);
  #ring = make("div", { class: "ring", hidden: true });
  #stage = make(
    "div",
    {
      class: "stage",
      tabindex: "0",
      role: "application",
      "aria-label": "Mask of the image",
      "aria-describedby": "keys",
    },
    this.#content,
    this.#ring,
  );
  #view = new PanZoom(this.#stage, this.#content, () => this.#placeRing());
  #brush = button("Brush", () => this.#select(false), { keys: "B" });
  #eraser = button("Eraser", () => this.#select(true), { keys: "E" });
  #size = make("input", { type: "range", id: "size", min: 1, max: 100, value: 20, "aria-keyshortcuts": "[ ]" });
  #sizeText = make("span", { "aria-hidden": "true" });
  #undo = button("↶", () => this.#change(this.#mask?.undo(), "Undone"), { label: "Undo", keys: "Control+Z" });
  #redo = button("↷", () => this.#change(this.#mask?.redo(), "Redone"), { label: "Redo", keys: "Control+Shift+Z" });
  #clear = button("Clear", () => this.clear(), { label: "Clear the mask" });
  #status = make("p", { class: "unseen", role: "status" });
  /** @type {Mask | null} */
  #mask = null;
  /** @type {(box: import("./mask.js").Box) => void} */
  #draw = () => {};
  #erasing = false;
  #painting = false;
  #panning = false;
  #spaceHeld = false;
  /** Place of the pointer or the keyboard's cursor, in the image. @type {[number, number]} */
  #place = [0, 0];
  #byKeyboard = false;
  #announcing = 0;

  constructor() {
    super();
    const zoom = [
      button("−", () => this.#view.zoomOut(), { label: "Zoom out", keys: "-" }),
      button("+", () => this.#view.zoomIn(), { label: "Zoom in", keys: "+" }),
      button("Fit", () => this.#view.fit(), { label: "Fit the image", keys: "0" }),
    ];
    const tools = [this.#brush, this.#eraser, this.#undo, this.#redo, this.#clear, ...zoom];
    const size = make("label", { class: "size", for: "size" }, "Brush size", this.#size, this.#sizeText);
    attach(
      this,
      "mask_painter",
      make("div", { class: "bar", role: "group", "aria-label": "Mask tools" }, ...tools, size),
      this.#stage,
      make("p", { class: "hint", id: "keys" }, DESCRIPTION),
      this.#status,
    );
    this.#size.addEventListener("input", () => this.#resized());
    this.#stage.addEventListener("keydown", (event) => this.#keyOfStage(event));
    this.#stage.addEventListener("keyup", (event) => event.key === " " && this.#releaseSpace());
    this.#stage.addEventListener("blur", () => this.#releaseSpace());
    this.shadowRoot?.addEventListener("keydown", (event) => this.#keyOfAll(/** @type {KeyboardEvent} */ (event)));
    this.#followPointers();
    this.#select(false);
    this.#enable();
  }

  /**
   * Show another image, with an empty mask.
   *
   * @param {Blob} blob
   * @throws {DOMException} it is not an image
   */
  async load(blob) {
    const image = await createImageBitmap(blob);
    const { width, height } = image;
    this.#image.width = width;
    this.#image.height = height;
    this.#image.getContext("2d")?.drawImage(image, 0, 0);
    image.close();
    this.#mask = new Mask(width, height);
    this.#draw = overlay(this.#overlay, this.#mask);
    this.#stage.style.aspectRatio = `${width} / ${height}`;
    this.#size.max = String(Math.ceil(Math.min(width, height) / 2));
    this.#size.value = String(Math.round(Math.min(width, height) * BRUSH));
    this.#place = [width / 2, height / 2];
    this.#view.resize(width, height);
    this.#resized();
    this.#enable();
  }

  /** PNG of the image's size, transparent where painted; null where nothing is. @returns {Promise<Blob | null>} */
  async mask() {
    return this.#mask && !this.#mask.empty ? maskFile(this.#mask) : null;
  }

  clear() {
    this.#change(this.#mask?.clear(), "Mask cleared");
  }

  get #radius() {
    return Number(this.#size.value) / 2;
  }

  /** @param {boolean} erasing */
  #select(erasing) {
    this.#erasing = erasing;
    this.#brush.setAttribute("aria-pressed", String(!erasing));
    this.#eraser.setAttribute("aria-pressed", String(erasing));
  }

  #resized() {
    this.#sizeText.textContent = `${numbers.format(Number(this.#size.value))} px`;
    this.#size.setAttribute("aria-valuetext", this.#sizeText.textContent);
    this.#placeRing();
  }

  #enable() {
    for (const control of [this.#brush, this.#eraser, this.#size]) control.disabled = !this.#mask;
    this.#undo.disabled = !this.#mask?.canUndo;
    this.#redo.disabled = !this.#mask?.canRedo;
    this.#clear.disabled = !this.#mask || this.#mask.empty;
  }

  /** @param {import("./mask.js").Box | null | undefined} box @param {string} message */
  #change(box, message) {
    if (!box) return;
    this.#draw(box);
    this.#announce(message);
    this.#changed();
  }

  #changed() {
    const focused = this.shadowRoot?.activeElement;
    this.#enable();
    if (focused instanceof HTMLButtonElement && focused.disabled) this.#stage.focus();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {import("./mask.js").Box | null | undefined} box */
  #drawn(box) {
    if (box) this.#draw(box);
  }

  #begin() {
    this.#painting = true;
    this.#drawn(this.#mask?.begin(...this.#place, this.#radius, this.#erasing));
  }

  #end() {
    if (!this.#painting) return;
    this.#painting = false;
    this.#mask?.end();
    this.#changed();
  }

  #cancel() {
    if (this.#painting) this.#drawn(this.#mask?.cancel());
    this.#painting = this.#panning = false;
  }

  #followPointers() {
    let [x, y] = [0, 0];
    /** @param {PointerEvent} event */
    const move = (event) => {
      this.#byKeyboard = false;
      this.#place = this.#view.inContent(event.clientX, event.clientY);
      this.#ring.hidden = event.pointerType === "touch" || !this.#mask;
      this.#placeRing();
    };
    followPointers(this.#stage, this.#view, {
      start: (event) => {
        [x, y] = [event.clientX, event.clientY];
        this.#cancel();
        move(event);
        this.#panning = this.#spaceHeld || event.button === 1;
        if (!this.#panning) this.#begin();
      },
      move: (event) => {
        if (this.#panning) this.#view.pan(event.clientX - x, event.clientY - y);
        [x, y] = [event.clientX, event.clientY];
        const events = event.getCoalescedEvents?.() ?? [];
        for (const each of this.#painting && events.length ? events : [event]) {
          move(each);
          if (this.#painting) this.#drawn(this.#mask?.extend(...this.#place));
        }
      },
      end: () => {
        this.#panning = false;
        this.#end();
      },
      cancel: () => this.#cancel(),
    });
    this.#stage.addEventListener("pointermove", (event) => this.#painting || move(event));
    this.#stage.addEventListener("pointerleave", () => (this.#ring.hidden = !this.#byKeyboard));
  }

  /** Keys while the image has the focus. @param {KeyboardEvent} event */
  #keyOfStage(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#mask) return;
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [
      0, 0,
    ];
    if (dx || dy) this.#moveCursor(dx, dy, event.shiftKey ? 1 : Math.max(1, Math.round(this.#radius / 2)));
    else if (event.key === " ") this.#holdSpace(event.repeat);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Keys in the whole element. @param {KeyboardEvent} event */
  #keyOfAll(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (event.altKey || (command && key !== "z" && key !== "y")) return;
    if (command) (key === "y" || event.shiftKey ? this.#redo : this.#undo).click();
    else if (key === "b" || key === "e") this.#select(key === "e");
    else if (key === "[" || key === "]") this.#scaleBrush(key === "]" ? BRUSH_STEP : 1 / BRUSH_STEP);
    else if (key === "+" || key === "=") this.#view.zoomIn();
    else if (key === "-") this.#view.zoomOut();
    else if (key === "0") this.#view.fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} factor */
  #scaleBrush(factor) {
    const size = Number(this.#size.value);
    this.#size.value = String(factor > 1 ? Math.ceil(size * factor) : Math.floor(size * factor));
    this.#resized();
    this.#announce(`Brush size ${this.#sizeText.textContent}`);
  }

  /** @param {number} dx @param {number} dy @param {number} step in pixels of the image */
  #moveCursor(dx, dy, step) {
    const { width, height } = /** @type {Mask} */ (this.#mask);
    if (!this.#byKeyboard) this.#place = [Math.floor(this.#place[0]) + 0.5, Math.floor(this.#place[1]) + 0.5];
    this.#byKeyboard = true;
    const [x, y] = this.#place;
    this.#place = [clamp(x + dx * step, width), clamp(y + dy * step, height)];
    if (this.#painting) this.#drawn(this.#mask?.extend(...this.#place));
    this.#ring.hidden = false;
    this.#followCursor();
    this.#placeRing();
    this.#announce(() => this.#whereabouts());
  }

  /** Pan so that the keyboard's cursor is on the stage. */
  #followCursor() {
    const [x, y] = this.#view.inStage(...this.#place);
    const { clientWidth, clientHeight } = this.#stage;
    this.#view.pan(clamp(x, clientWidth) - x, clamp(y, clientHeight) - y);
  }

  /** @param {boolean} again */
  #holdSpace(again) {
    this.#spaceHeld = true;
    if (again || this.#painting) return;
    if (this.#byKeyboard) this.#begin();
    else this.#stage.classList.add("panning");
  }

  #releaseSpace() {
    this.#spaceHeld = false;
    this.#stage.classList.remove("panning");
    if (this.#byKeyboard) this.#end();
  }

  #whereabouts() {
    const [x, y] = this.#place.map(Math.floor);
    const painted = this.#mask?.pixels[y * this.#mask.width + x] ? "painted" : "not painted";
    return `${numbers.format(x)}, ${numbers.format(y)}, ${painted}`;
  }

  /** @param {string | (() => string)} message announced when no other one follows soon */
  #announce(message) {
    clearTimeout(this.#announcing);
    this.#announcing = setTimeout(() => {
      this.#status.textContent = typeof message === "string" ? message : message();
    }, ANNOUNCE);
  }

  #placeRing() {
    const [x, y] = this.#view.inStage(...this.#place);
    const diameter = 2 * this.#radius * this.#view.scale;
    this.#ring.style.width = this.#ring.style.height = `${diameter}px`;
    this.#ring.style.transform = `translate(${x - diameter / 2}px, ${y - diameter / 2}px)`;
  }
}

/** @param {number} value @param {number} size */
function clamp(value, size) {
  return Math.min(Math.max(value, 0.5), size - 0.5);
}

customElements.define("mask-painter", MaskPainter);

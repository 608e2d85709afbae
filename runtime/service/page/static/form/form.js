/** The form: settings of the next images, within what the model can use. */

import { control } from "./controls.js";
import { SchedulerControls } from "./scheduler.js";
import { SizeControls } from "./size.js";
import { StartControls } from "./start.js";
import { weighWithKeys } from "./weights.js";

/** @typedef {import("../api/service.js").Model} Model */
/** @typedef {Record<string, unknown>} Values by field of the HTTP API */

const TEXTS = ["prompt", "negative_prompt", "prompt_2", "prompt_3"];
const NUMBERS = ["num_inference_steps", "guidance_scale", "image_guidance_scale", "n"];
const MEMORY = "triptych.form";

/** Event: `change`, when a value has changed. */
export class Form extends EventTarget {
  start = new StartControls();
  #size = new SizeControls();
  #scheduler = new SchedulerControls();
  #seed = control("seed", HTMLInputElement);
  #seedMode = control("seed_mode", HTMLSelectElement);
  #settings = control("settings", HTMLFieldSetElement);
  #error = control("field-error", HTMLElement);
  /** Settings of an image that the form has no control for. @type {Values} */
  #others = {};
  /** @type {Model | null} */
  #model = null;

  constructor() {
    super();
    for (const name of ["prompt", "negative_prompt"]) weighWithKeys(control(name, HTMLTextAreaElement));
    const form = control("form", HTMLFormElement);
    form.addEventListener("input", () => this.#changed());
    this.start.addEventListener("change", () => this.#changed());
    this.#seed.addEventListener("input", () => {
      if (this.#seed.value && this.#seedMode.value === "random") this.#seedMode.value = "fixed";
    });
    control("defaults", HTMLButtonElement).addEventListener("click", () => this.#reset());
  }

  /**
   * Offer what a model can use; values of another model are kept where this one has them.
   *
   * @param {Model} model
   * @param {import("../api/service.js").Scheduler[]} schedulers
   */
  offer(model, schedulers) {
    this.#model = model;
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-field]"))) {
      element.hidden = !model.fields.includes(String(element.dataset.field));
    }
    control("num_inference_steps", HTMLInputElement).max = String(model.limits.steps);
    control("n", HTMLInputElement).max = String(model.limits.n);
    for (const name of TEXTS) control(name, HTMLTextAreaElement).maxLength = model.limits.prompt;
    const [example] = model.example_prompts;
    control("prompt", HTMLTextAreaElement).placeholder = example ? `For example: ${example}` : "Content of the image";
    this.#size.offer(model);
    this.#scheduler.offer(model, schedulers);
    this.start.offer(model);
    this.values = { ...defaultsOf(model), ...this.#texts(), ...this.#remembered(model) };
    this.#settings.disabled = false;
  }

  /** Values to request; seeds as they are written. @returns {Values} */
  get values() {
    const model = /** @type {Model} */ (this.#model);
    /** @type {Values} */
    const values = { ...this.#others };
    for (const name of TEXTS) {
      const text = control(name, HTMLTextAreaElement).value;
      const overrides = name === "negative_prompt" && model.defaults.negative_prompt; // the empty text, too
      if (name === "prompt" || ((text.trim() || overrides) && model.fields.includes(name))) values[name] = text;
    }
    for (const name of NUMBERS) {
      const { value } = control(name, HTMLInputElement);
      const usable = name === "n" || name === "num_inference_steps" || model.fields.includes(name);
      if (value !== "" && usable) values[name] = Number(value);
    }
    if (this.#seedMode.value !== "random" && this.#seed.value.trim()) values.seed = numberOf(this.#seed.value.trim());
    values.size = this.#size.value;
    if (this.start.hasImage && model.fields.includes("strength")) values.strength = this.start.strength;
    return { ...values, ...this.#scheduler.values };
  }

  /** Fields that are not given keep their values. */
  set values(values) {
    for (const name of [...TEXTS, ...NUMBERS]) {
      const value = Array.isArray(values[name]) ? values[name][0] : values[name];
      if (value !== undefined) /** @type {HTMLInputElement} */ (control(name, HTMLElement)).value = String(value ?? "");
    }
    if (values.size) this.#size.value = String(values.size);
    if (values.strength) this.start.strength = Number(values.strength);
    if ("scheduler" in values || "scheduler_options" in values) this.#scheduler.values = values;
    if (values.seed !== undefined) {
      this.#seed.value = String(values.seed ?? "");
      this.#seedMode.value = this.#seed.value ? "fixed" : "random";
    }
    this.#changed();
  }

  /**
   * Settings of an image: every value that it does not state is the model's.
   *
   * @param {Values} values
   */
  restore(values) {
    const model = /** @type {Model} */ (this.#model);
    this.values = { ...defaultsOf(model), negative_prompt: "", prompt_2: "", prompt_3: "", scheduler: "", seed: "", ...values, n: 1 };
    const covered = new Set([...TEXTS, ...NUMBERS, "size", "strength", "scheduler", "scheduler_options", "seed", "model", "upscale"]);
    this.#others = Object.fromEntries(Object.entries(values).filter(([name]) => !covered.has(name)));
    if (Array.isArray(values.guidance_scale)) this.#others.guidance_scale = values.guidance_scale;
    this.#changed();
  }

  /** Names of settings that are sent, but have no control. */
  get others() {
    return Object.keys(this.#others);
  }

  /**
   * Show a seed that was drawn, or count up for the next images.
   *
   * @param {unknown} seed of the first image
   * @param {number} count of images
   */
  drawn(seed, count) {
    if (this.#seedMode.value !== "next" || seed === undefined) return;
    this.#seed.value = String((BigInt(String(seed)) + BigInt(count)) % (1n << 64n));
    this.#changed();
  }

  /** Check the form; shows the first error. @returns {boolean} */
  check() {
    const form = control("form", HTMLFormElement);
    const invalid = /** @type {HTMLInputElement | undefined} */ ([...form.elements].find((each) => each instanceof HTMLInputElement && !each.disabled && !each.checkValidity()));
    const prompt = control("prompt", HTMLTextAreaElement);
    if (!prompt.value.trim()) this.fail("Write a prompt first.", "prompt");
    else if (invalid) this.fail(`${labelOf(invalid)}: ${invalid.validationMessage}`, invalid.id);
    else this.fail(null);
    return !this.#error.textContent;
  }

  /**
   * Show an error at a field.
   *
   * @param {string | null} message
   * @param {string | null} [field]
   */
  fail(message, field = null) {
    this.#error.hidden = !message;
    this.#error.textContent = message;
    for (const marked of document.querySelectorAll("#form [aria-invalid]")) marked.removeAttribute("aria-invalid");
    const place = field && document.getElementById(field === "size" ? "width" : field);
    if (!message || !place) return;
    place.setAttribute("aria-invalid", "true");
    place.focus();
  }

  #reset() {
    this.#others = {};
    const model = /** @type {Model} */ (this.#model);
    this.values = { negative_prompt: "", prompt_2: "", prompt_3: "", scheduler: "", scheduler_options: {}, seed: "", n: 1, ...defaultsOf(model) };
    this.start.clear();
  }

  #texts() {
    return Object.fromEntries(TEXTS.map((name) => [name, control(name, HTMLTextAreaElement).value]).filter(([, text]) => text));
  }

  #changed() {
    if (!this.#model || this.#settings.disabled) return;
    this.#error.hidden = true;
    const remembered = { model: this.#model.id, mode: this.#seedMode.value, values: { ...this.values, seed: this.#seed.value } };
    sessionStorage.setItem(MEMORY, JSON.stringify(remembered));
    this.dispatchEvent(new Event("change"));
  }

  /** Values of this tab before it was loaded again. @param {Model} model @returns {Values} */
  #remembered(model) {
    try {
      const { model: name, mode, values } = JSON.parse(sessionStorage.getItem(MEMORY) ?? "{}");
      if (name !== model.id) return values?.prompt ? { prompt: values.prompt } : {};
      queueMicrotask(() => (this.#seedMode.value = mode));
      return values;
    } catch {
      return {};
    }
  }
}

/** Name of the model that the form had before it was loaded again. @returns {string | null} */
export function rememberedModel() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY) ?? "{}").model ?? null;
  } catch {
    return null;
  }
}

/** @param {Model} model @returns {Values} */
function defaultsOf({ defaults, fields }) {
  const { num_inference_steps, guidance_scale, image_guidance_scale, strength, size, negative_prompt } = defaults;
  return {
    num_inference_steps,
    guidance_scale,
    size,
    strength,
    ...(fields.includes("image_guidance_scale") && { image_guidance_scale }),
    ...(negative_prompt && { negative_prompt }),
  };
}

/** @param {string} digits */
function numberOf(digits) {
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : digits;
}

/** @param {HTMLInputElement} input */
function labelOf(input) {
  return input.labels?.[0]?.firstChild?.textContent?.trim() || input.getAttribute("aria-label") || input.id;
}

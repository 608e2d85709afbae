/** The scheduler and its options; only options that are set are sent. */

import { make } from "../elements/dom.js";
import { control } from "./controls.js";

/** @typedef {import("../api/service.js").Model} Model */
/** @typedef {import("../api/service.js").Scheduler} Scheduler */
/** @typedef {import("../api/service.js").Option} Option */

export class SchedulerControls {
  #select = control("scheduler", HTMLSelectElement);
  #details = control("scheduler_options", HTMLDetailsElement);
  #place = /** @type {HTMLElement} */ (this.#details.querySelector(".options"));
  /** @type {Scheduler[]} */
  #schedulers = [];
  #own = "";

  constructor() {
    this.#select.addEventListener("input", () => this.#offerOptions({}));
  }

  /** @param {Model} model @param {Scheduler[]} schedulers */
  offer(model, schedulers) {
    this.#schedulers = schedulers;
    this.#own = model.defaults.scheduler;
    const own = make("option", { value: "" }, `${this.#own.replace(/Scheduler$/, "")} (the model's)`);
    this.#select.replaceChildren(own, ...model.schedulers.map((name) => make("option", { value: name }, name)));
    this.#offerOptions({});
  }

  /** The fields `scheduler` and `scheduler_options`, where they are set. @returns {Record<string, unknown>} */
  get values() {
    /** @type {Record<string, unknown>} */
    const options = {};
    for (const [option, input] of this.#inputs()) {
      if (input.value !== "") options[option.name] = read(option, input.value);
    }
    return {
      ...(this.#select.value && { scheduler: this.#select.value }),
      ...(Object.keys(options).length && { scheduler_options: options }),
    };
  }

  set values({ scheduler, scheduler_options: options }) {
    const name = typeof scheduler === "string" && scheduler !== this.#own ? scheduler : "";
    if (![...this.#select.options].some(({ value }) => value === name)) this.#select.append(make("option", { value: name }, name));
    this.#select.value = name;
    this.#offerOptions(/** @type {Record<string, unknown>} */ (options ?? {}));
  }

  /** @param {Record<string, unknown>} values */
  #offerOptions(values) {
    const options = this.#options();
    this.#details.hidden = !options.length;
    this.#place.replaceChildren(
      ...options.flatMap((option) => {
        const id = `option-${option.name}`;
        const input = inputOf(option, id);
        const value = values[option.name];
        if (value !== undefined && value !== null) input.value = String(value);
        return [make("label", { for: id }, option.name.replaceAll("_", " ")), input];
      }),
    );
    if (Object.keys(values).length) this.#details.open = true;
  }

  /** @returns {Option[]} */
  #options() {
    const name = this.#select.value || this.#own;
    return (this.#schedulers.find((each) => each.name === name || each.class_name === name)?.options ?? []);
  }

  #inputs() {
    return this.#options().map((option) => /** @type {const} */ ([option, control(`option-${option.name}`, HTMLElement)]))
      .map(([option, input]) => /** @type {const} */ ([option, /** @type {HTMLInputElement} */ (input)]));
  }
}

/** @param {Option} option @param {string} id */
function inputOf({ type, default: value, allowed }, id) {
  const names = type === "boolean" ? ["true", "false"] : allowed;
  const standard = value === null ? "default" : `default: ${value}`;
  if (names) return make("select", { id }, make("option", { value: "" }, standard), ...names.map((name) => make("option", { value: name }, name)));
  const numeric = type === "integer" || type === "number";
  return make("input", { id, type: numeric ? "number" : "text", step: type === "integer" ? 1 : "any", placeholder: standard });
}

/** @param {Option} option @param {string} text */
function read({ type }, text) {
  if (type === "boolean") return text === "true";
  return type === "string" ? text : Number(text);
}

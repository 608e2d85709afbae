/** Images that are requested together, from the request to the last image. */

import { ApiError, call, OfflineError } from "../api/client.js";
import { blobOf, eventsOf } from "../api/events.js";

/** @typedef {import("../api/service.js").Model} Model */
/** @typedef {{image: Blob, mask: Blob | null}} Start */
/** @typedef {{step: number, steps: number, position: number | null, secondsLeft: number | null, state: string, preview: Blob | null, image: Blob | null}} Row */

const RETRIES = 20; // of a full queue

/**
 * Event: `update`, whenever its state or a row has changed.
 */
export class Job extends EventTarget {
  /** @type {"waiting" | "running" | "done" | "failed" | "cancelled"} */
  state = "waiting";
  /** Seconds until the request is sent again, because the queue is full. @type {number | null} */
  retryIn = null;
  /** @type {Error | null} */
  error = null;
  /** @type {Row[]} */
  rows;
  #abort = new AbortController();

  /**
   * @param {Model} model
   * @param {Record<string, unknown>} values by field of the HTTP API
   * @param {Start | null} start
   */
  constructor(model, values, start = null) {
    super();
    this.model = model;
    this.values = values;
    this.start = start;
    this.created = Date.now();
    this.rows = Array.from({ length: Number(values.n ?? 1) }, () => ({
      step: 0, steps: 0, position: null, secondsLeft: null, state: "queued", preview: null, image: null,
    }));
  }

  /** Whether it is over. */
  get ended() {
    return this.state === "done" || this.state === "failed" || this.state === "cancelled";
  }

  cancel() {
    if (this.ended) return;
    this.#abort.abort();
    this.#set("cancelled");
  }

  /** Request the images; ends in one of the last three states, and does not throw. */
  async run() {
    if (this.ended) return;
    this.#set("running");
    try {
      for await (const event of eventsOf(await this.#send())) this.#take(event);
      const whole = this.rows.every(({ image }) => image);
      if (!whole) throw new OfflineError();
      this.#set("done");
    } catch (error) {
      if (this.ended) return;
      this.error = error instanceof Error ? error : new Error(String(error));
      if (error instanceof TypeError) this.error = new OfflineError(); // a connection that broke
      this.#set("failed");
    }
  }

  /** @param {typeof this.state} state */
  #set(state) {
    this.state = state;
    this.dispatchEvent(new Event("update"));
  }

  async #send() {
    const path = this.start ? "/v1/images/edits" : "/v1/images/generations";
    for (let retries = RETRIES; ; retries--) {
      try {
        return await call(path, { body: this.#body(), signal: this.#abort.signal });
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 429 || !retries) throw error;
        await this.#pause(Math.min(error.retryAfter ?? 1, 60));
      }
    }
  }

  /** @param {number} seconds */
  async #pause(seconds) {
    for (this.retryIn = seconds; this.retryIn > 0; this.retryIn--) {
      this.dispatchEvent(new Event("update"));
      await new Promise((resolve) => setTimeout(resolve, 1000));
      this.#abort.signal.throwIfAborted();
    }
    this.retryIn = null;
  }

  #body() {
    const streamed = { stream: true, progress: true, partial_images: this.model.limits.partial_images };
    const values = { ...this.values, model: this.model.id, ...streamed };
    if (!this.start) return values;
    const form = new FormData();
    for (const [name, value] of Object.entries(values)) {
      form.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
    }
    form.set("image", this.start.image, "image.png");
    if (this.start.mask) form.set("mask", this.start.mask, "mask.png");
    return form;
  }

  /** @param {any} event */
  #take(event) {
    if (event.type === "error") throw new ApiError(event.error.message, { status: 500, param: event.error.param });
    const row = this.rows[event.index];
    if (event.type.endsWith(".partial_image")) row.preview = blobOf(event.b64_json, "image/png");
    else if (event.type.endsWith(".completed")) row.image = blobOf(event.b64_json, "image/png");
    else if (event.type.endsWith(".progress")) {
      const { state, step, steps, position, seconds_left: secondsLeft } = event;
      Object.assign(row, { state, step, steps, position, secondsLeft });
    }
    this.dispatchEvent(new Event("update"));
  }
}

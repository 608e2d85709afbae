/** What the service says of itself: its state, models and schedulers. */

import { call } from "./client.js";

/**
 * A model of /v1/models.
 *
 * @typedef {object} Model
 * @property {string} id
 * @property {string} state
 * @property {string} fingerprint
 * @property {string[]} tasks
 * @property {{num_inference_steps: number, guidance_scale: number, strength: number, image_guidance_scale: number | null, scheduler: string, scheduler_options: Record<string, unknown> | null, negative_prompt: string | null, size: string}} defaults
 * @property {string[]} example_prompts
 * @property {string | null} license
 * @property {string[]} schedulers
 * @property {{multiple: number, fixed: boolean, suggested: string[]}} sizes
 * @property {boolean} previews
 * @property {string[]} fields
 * @property {{pixels: number, steps: number, n: number, prompt: number, body: number, upload_pixels: number, timeout: number, queue: number, partial_images: number}} limits
 */

/** @typedef {{name: string, type: string, default: unknown, allowed: string[] | null}} Option */
/** @typedef {{name: string, class_name: string, options: Option[]}} Scheduler */

/** @returns {Promise<Model[]>} */
export async function listModels() {
  return (await (await call("/v1/models")).json()).data;
}

/** @returns {Promise<Scheduler[]>} */
export async function listSchedulers() {
  return (await (await call("/v1/schedulers")).json()).data;
}

/**
 * The state of the service.
 *
 * @returns {Promise<"ready" | "loading" | "stopping" | "offline">}
 */
export async function readState() {
  try {
    return (await (await fetch("/readyz", { cache: "no-store", credentials: "omit" })).json()).status;
  } catch {
    return "offline";
  }
}

/** Calls of the HTTP API. */

import { bearer, readKey } from "./key.js";

/** The service answered with an error. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status: number, param?: string | null, retryAfter?: number | null}} about `retryAfter` in seconds
   */
  constructor(message, { status, param = null, retryAfter = null }) {
    super(message);
    this.status = status;
    this.param = param;
    this.retryAfter = retryAfter;
  }
}

/** The service cannot be reached. */
export class OfflineError extends Error {
  constructor() {
    super("The service cannot be reached.");
  }
}

/**
 * Call an endpoint: GET, or POST with a body of JSON or a form.
 *
 * @param {string} path
 * @param {{body?: object | FormData, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError | OfflineError | DOMException}
 */
export async function call(path, { body, signal } = {}) {
  const headers = new Headers();
  const key = readKey();
  if (key) headers.set("Authorization", bearer(key));
  const isForm = body instanceof FormData;
  if (body && !isForm) headers.set("Content-Type", "application/json");
  /** @type {RequestInit} */
  const request = { method: body ? "POST" : "GET", headers, signal, credentials: "omit", cache: "no-store" };
  if (body) request.body = isForm ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new OfflineError();
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** @param {Response} response */
async function errorOf(response) {
  const { error = {} } = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const message = typeof error.message === "string" ? error.message : `The service answered ${response.status}.`;
  return new ApiError(message, { status: response.status, param: error.param ?? null, retryAfter });
}

/** Settings in the fragment of a URL, which browsers do not send to any server: "#prompt=a+red+fox&seed=7". */

import { FIELDS, kindOf } from "./fields.js";

const MAX_CHARACTERS = 1 << 18;

/**
 * Write settings as the fragment of a URL; fields that are not settings are left out.
 *
 * @param {Record<string, unknown>} values by field of the HTTP API
 * @returns {string} "" without any setting
 */
export function toFragment(values) {
  const parameters = new URLSearchParams();
  for (const [name, kind] of Object.entries(FIELDS)) {
    const value = Object.hasOwn(values, name) ? kind.check(values[name]) : undefined;
    if (value === undefined) continue;
    const plain = typeof value !== "object" || Array.isArray(value);
    parameters.set(name, plain ? String(value) : JSON.stringify(value));
  }
  const written = parameters.toString();
  return written && `#${written}`;
}

/**
 * Read the fragment of a URL from any source: only known fields, each of its type and range.
 *
 * @param {string} hash with or without "#"
 * @returns {Record<string, unknown> | null} null without any setting
 */
export function fromFragment(hash) {
  if (hash.length > MAX_CHARACTERS) return null;
  /** @type {Record<string, unknown>} */
  const values = {};
  for (const [name, written] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const kind = kindOf(name);
    const value = kind?.check(kind.read ? kind.read(written) : written);
    if (value !== undefined) values[name] = value;
  }
  return Object.keys(values).length ? values : null;
}

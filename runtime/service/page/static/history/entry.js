/**
 * An image that was made here.
 *
 * @typedef {object} NewEntry
 * @property {number} created milliseconds since 1970
 * @property {string} model
 * @property {Record<string, unknown>} settings by field of the HTTP API
 * @property {number | string} seed
 * @property {Blob} blob the image file
 * @property {Blob} [thumbnail] made of the image where it is missing
 */

/**
 * An entry of the list, without its image file.
 *
 * @typedef {object} Listed
 * @property {number} id later entries have higher ones
 * @property {number} created
 * @property {string} model
 * @property {Record<string, unknown>} settings
 * @property {number | string} seed
 * @property {Blob | null} thumbnail
 * @property {number} bytes of the image file and the thumbnail
 */

/** @typedef {Listed & {blob: Blob}} Entry */

/**
 * What to list: entries with all words of `search`, with ids below `before`, at most `limit` of them.
 *
 * @typedef {{search?: string, before?: number, limit?: number}} Query
 */

/**
 * Images that were made here, newest first.
 *
 * @typedef {object} History
 * @property {boolean} persistent false where they are gone with the page, for example in a private window
 * @property {(entry: NewEntry) => Promise<number>} add throws HistoryFullError where there is no room
 * @property {(query?: Query) => Promise<Listed[]>} list
 * @property {(id: number) => Promise<Entry | null>} get
 * @property {(ids: number[]) => Promise<void>} remove
 * @property {() => Promise<void>} clear
 * @property {() => Promise<{count: number, bytes: number, available: number | null}>} usage `available`: bytes that the
 *   browser leaves, null where it does not say
 */

export const DEFAULT_LIMIT = 50;

/** The browser has no room for another entry; older ones have to be removed first. */
export class HistoryFullError extends Error {
  constructor() {
    super("The history is full. Remove images from it to make room.");
    this.name = "HistoryFullError";
  }
}

/**
 * Entry without its image file, as the list has it.
 *
 * @param {Omit<NewEntry, "thumbnail">} entry
 * @param {Blob | null} thumbnail
 * @returns {Omit<Listed, "id">}
 */
export function listed({ created, model, settings, seed, blob }, thumbnail) {
  return { created, model, settings, seed, thumbnail, bytes: blob.size + (thumbnail?.size ?? 0) };
}

/**
 * Test for entries with all words in their prompts, model or seed, in any case and order.
 *
 * @param {string} [search]
 * @returns {(entry: Listed) => boolean}
 */
export function matcher(search = "") {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return ({ settings, model, seed }) => {
    const text = [settings.prompt, settings.negative_prompt, model, seed].join("\n").toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  };
}

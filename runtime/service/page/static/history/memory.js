import { DEFAULT_LIMIT, listed, matcher } from "./entry.js";
import { makeThumbnail } from "./thumbnail.js";

/**
 * A history that lasts as long as the page.
 *
 * @returns {import("./entry.js").History}
 */
export function memoryHistory() {
  /** @type {Map<number, import("./entry.js").Entry>} */
  const entries = new Map();
  let last = 0;
  return {
    persistent: false,
    async add(entry) {
      const thumbnail = entry.thumbnail ?? (await makeThumbnail(entry.blob));
      const id = ++last;
      entries.set(id, { ...listed(entry, thumbnail), id, blob: entry.blob });
      return id;
    },
    async list({ search, before = Infinity, limit = DEFAULT_LIMIT } = {}) {
      const matches = matcher(search);
      const found = [...entries.values()].filter((entry) => entry.id < before && matches(entry));
      return found
        .reverse()
        .slice(0, limit)
        .map((entry) => ({ ...listed(entry, entry.thumbnail), id: entry.id }));
    },
    async get(id) {
      return entries.get(id) ?? null;
    },
    async remove(ids) {
      for (const id of ids) entries.delete(id);
    },
    async clear() {
      entries.clear();
    },
    async usage() {
      const bytes = [...entries.values()].reduce((sum, entry) => sum + entry.bytes, 0);
      return { count: entries.size, bytes, available: null };
    },
  };
}

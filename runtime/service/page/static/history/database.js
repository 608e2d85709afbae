import { DEFAULT_LIMIT, HistoryFullError, listed, matcher } from "./entry.js";
import { makeThumbnail } from "./thumbnail.js";

/** @typedef {import("./entry.js").Listed} Listed */

const NAME = "triptych";
const VERSION = 1;
const ENTRIES = "entries"; // everything that a list shows
const BLOBS = "blobs"; // the image files, by the entry's id

/**
 * A history in the browser's database.
 *
 * @returns {Promise<import("./entry.js").History>}
 * @throws {DOMException} the browser has no database for this page
 */
export async function databaseHistory() {
  const opening = indexedDB.open(NAME, VERSION);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore(ENTRIES, { keyPath: "id", autoIncrement: true });
    opening.result.createObjectStore(BLOBS);
  };
  const database = await result(opening);
  database.onversionchange = () => database.close(); // a later version of the page, in another tab

  /** @param {IDBTransactionMode} mode */
  const transaction = (mode) => database.transaction([ENTRIES, BLOBS], mode);

  return {
    persistent: true,
    async add(entry) {
      const thumbnail = entry.thumbnail ?? (await makeThumbnail(entry.blob));
      try {
        const writing = transaction("readwrite");
        const done = completed(writing);
        const [id] = await Promise.all([put(writing, entry, thumbnail), done]);
        return id;
      } catch (error) {
        throw error instanceof DOMException && error.name === "QuotaExceededError" ? new HistoryFullError() : error;
      }
    },
    async list({ search, before, limit = DEFAULT_LIMIT } = {}) {
      const range = before === undefined ? null : IDBKeyRange.upperBound(before, true);
      const matches = matcher(search);
      /** @type {Listed[]} */
      const found = [];
      await walk(database, range, (entry) => {
        if (matches(entry)) found.push(entry);
        return found.length < limit;
      });
      return found;
    },
    async get(id) {
      const reading = transaction("readonly");
      const [entry, blob] = await Promise.all([
        result(reading.objectStore(ENTRIES).get(id)),
        result(reading.objectStore(BLOBS).get(id)),
      ]);
      return entry && blob ? { ...entry, blob } : null;
    },
    async remove(ids) {
      const writing = transaction("readwrite");
      for (const id of ids) {
        writing.objectStore(ENTRIES).delete(id);
        writing.objectStore(BLOBS).delete(id);
      }
      await completed(writing);
    },
    async clear() {
      const writing = transaction("readwrite");
      writing.objectStore(ENTRIES).clear();
      writing.objectStore(BLOBS).clear();
      await completed(writing);
    },
    async usage() {
      let count = 0;
      let bytes = 0;
      await walk(database, null, (entry) => {
        count += 1;
        bytes += entry.bytes;
        return true;
      });
      const { quota, usage } = (await navigator.storage?.estimate()) ?? {};
      return { count, bytes, available: quota === undefined ? null : Math.max(0, quota - (usage ?? 0)) };
    },
  };
}

/**
 * @param {IDBTransaction} writing
 * @param {import("./entry.js").NewEntry} entry
 * @param {Blob | null} thumbnail
 */
async function put(writing, entry, thumbnail) {
  const id = Number(await result(writing.objectStore(ENTRIES).add(listed(entry, thumbnail))));
  await result(writing.objectStore(BLOBS).add(entry.blob, id));
  return id;
}

/**
 * Visit entries, newest first, until `visit` returns false.
 *
 * @param {IDBDatabase} database
 * @param {IDBKeyRange | null} range
 * @param {(entry: Listed) => boolean} visit
 * @returns {Promise<void>}
 */
function walk(database, range, visit) {
  const request = database.transaction(ENTRIES).objectStore(ENTRIES).openCursor(range, "prev");
  return new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (cursor && visit(cursor.value)) cursor.continue();
      else resolve();
    };
  });
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>}
 */
function completed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

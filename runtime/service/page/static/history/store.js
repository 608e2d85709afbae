/** The images that were made in this browser: in its database, or in memory where it has none for this page. */

import { databaseHistory } from "./database.js";
import { memoryHistory } from "./memory.js";

export { HistoryFullError } from "./entry.js";

/** @returns {Promise<import("./entry.js").History>} */
export async function openHistory() {
  try {
    return await databaseHistory();
  } catch {
    return memoryHistory(); // no IndexedDB, as in some private windows, or a damaged database
  }
}

/** The history: thumbnails of images that were drawn in this browser, with search and delete. */

import { button, make, showBlob } from "../elements/dom.js";
import { openHistory } from "../history/store.js";
import { notify } from "../ui/notices.js";
import { walkWithArrows } from "./items.js";

/** @typedef {import("./items.js").Item} Item */
/** @typedef {import("../history/entry.js").Listed} Listed */

const LIMIT = 60;
const SEARCH_MILLISECONDS = 150;

/** Events: `open` (detail: {items, index}), `removed` (detail: ids). */
export class HistoryPanel extends EventTarget {
  #list = /** @type {HTMLElement} */ (document.getElementById("thumbnails"));
  #search = /** @type {HTMLInputElement} */ (document.getElementById("search"));
  #more = /** @type {HTMLButtonElement} */ (document.getElementById("more"));
  #hint = /** @type {HTMLElement} */ (document.getElementById("history-hint"));
  #clear = /** @type {HTMLButtonElement} */ (document.getElementById("clear"));
  #history = openHistory();
  /** @type {Listed[]} */
  #shown = [];
  #timer = 0;
  /** Counts the lists that were requested: an older answer is not shown. */
  #requested = 0;

  constructor() {
    super();
    walkWithArrows(this.#list);
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.refresh(), SEARCH_MILLISECONDS);
    });
    this.#more.addEventListener("click", () => this.#append());
    this.#clear.addEventListener("click", () => this.#removeAll());
    this.#list.addEventListener("keydown", (event) => {
      const id = Number(/** @type {HTMLElement} */ (event.target).dataset.item);
      if (event.key === "Delete" && id) this.remove([id]);
    });
    this.refresh();
  }

  /**
   * Keep images; those that there is no room for are named in a message.
   *
   * @param {Item[]} items
   * @returns {Promise<Item[]>} with their ids
   */
  async add(items) {
    const history = await this.#history;
    const kept = [];
    for (const item of items) {
      try {
        kept.push({ ...item, id: await history.add(item) });
      } catch (error) {
        kept.push(item);
        notify(error instanceof Error ? error.message : String(error), { failed: true });
      }
    }
    await this.refresh();
    return kept;
  }

  /** @param {number[]} ids */
  async remove(ids) {
    const place = this.#shown.findIndex(({ id }) => ids.includes(id));
    await (await this.#history).remove(ids);
    await this.refresh();
    const buttons = /** @type {NodeListOf<HTMLElement>} */ (this.#list.querySelectorAll("button"));
    if (place >= 0) (buttons[Math.min(place, buttons.length - 1)] ?? this.#search).focus();
    this.dispatchEvent(new CustomEvent("removed", { detail: ids }));
  }

  async refresh() {
    const requested = ++this.#requested;
    const history = await this.#history;
    const found = await history.list({ search: this.#search.value, limit: LIMIT });
    const { count } = await history.usage();
    if (requested !== this.#requested) return;
    for (const image of this.#list.querySelectorAll("img")) showBlob(image, null);
    this.#list.replaceChildren();
    this.#shown = [];
    this.#show(found);
    this.#clear.hidden = !count;
    const where = history.persistent ? "Kept in this browser alone." : "Kept until this page is closed: this window has no storage.";
    const none = count ? "No image matches." : "Images that you draw are kept here.";
    const images = count === 1 ? "1 image" : `${new Intl.NumberFormat().format(count)} images`;
    this.#hint.textContent = found.length ? `${images}. ${where}` : none;
  }

  async #append() {
    const before = this.#shown.at(-1)?.id;
    this.#show(await (await this.#history).list({ search: this.#search.value, limit: LIMIT, before }));
  }

  /** @param {Listed[]} entries */
  #show(entries) {
    this.#shown.push(...entries);
    this.#more.hidden = entries.length < LIMIT;
    this.#list.append(...entries.map((entry) => make("li", {}, this.#thumbnail(entry))));
  }

  /** @param {Listed} entry */
  #thumbnail({ id, seed, settings, thumbnail }) {
    const label = `${settings.prompt ?? "Image"}, seed ${seed}`;
    const open = button("", () => this.#open(id), { label });
    const image = make("img", { alt: "", loading: "lazy" });
    showBlob(image, thumbnail);
    open.dataset.item = String(id);
    open.replaceChildren(image);
    return open;
  }

  /** @param {number} id */
  async #open(id) {
    const history = await this.#history;
    const entries = (await Promise.all(this.#shown.map((entry) => history.get(entry.id)))).filter((entry) => entry !== null);
    const index = entries.findIndex((entry) => entry.id === id);
    this.dispatchEvent(new CustomEvent("open", { detail: { items: entries, index: Math.max(index, 0) } }));
  }

  async #removeAll() {
    const { count } = await (await this.#history).usage();
    if (!confirm(`Delete all ${count} images of the history?`)) return;
    await (await this.#history).clear();
    await this.refresh();
    this.#search.focus();
  }
}

/** Weights of words in a prompt, changed by keys: "fox" -> "(fox:1.1)". */

const STEP = 0.1;
const WORD = /[\p{L}\p{N}\p{M}'’_-]/u;

/**
 * Change the weight of the selected words, or of the word at the cursor, with Ctrl+Up and Ctrl+Down.
 *
 * @param {HTMLTextAreaElement} area
 */
export function weighWithKeys(area) {
  area.addEventListener("keydown", (event) => {
    const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!sign || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const changed = weighed(area.value, area.selectionStart, area.selectionEnd, sign * STEP);
    if (!changed) return;
    area.setRangeText(changed.text, changed.start, changed.end, "select");
    area.setSelectionRange(changed.start + changed.inner[0], changed.start + changed.inner[1]);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

/**
 * The part of a prompt to replace, and its words with another weight; `inner` is where the words are in `text`.
 *
 * @param {string} prompt
 * @param {number} start of the selection
 * @param {number} end
 * @param {number} change
 * @returns {{start: number, end: number, text: string, inner: [number, number]} | null} null where there is no word
 */
export function weighed(prompt, start, end, change) {
  if (start === end) {
    while (start > 0 && WORD.test(prompt[start - 1])) start--;
    while (end < prompt.length && WORD.test(prompt[end])) end++;
  }
  const words = prompt.slice(start, end).trim();
  if (!words) return null;
  start += prompt.slice(start, end).indexOf(words);
  end = start + words.length;
  const before = prompt.slice(0, start);
  const tail = /^:(\d+(?:\.\d+)?)\)/.exec(prompt.slice(end));
  const weighted = before.endsWith("(") && tail;
  const weight = Math.max(0, Math.round(((weighted ? Number(tail[1]) : 1) + change) * 100) / 100);
  const [from, to] = weighted ? [start - 1, end + tail[0].length] : [start, end];
  if (weight === 1) return { start: from, end: to, text: words, inner: [0, words.length] };
  return { start: from, end: to, text: `(${words}:${weight})`, inner: [1, 1 + words.length] };
}

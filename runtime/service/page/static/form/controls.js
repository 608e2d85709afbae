/** Controls of the page by id, and sliders with their values. */

const percent = new Intl.NumberFormat(undefined, { style: "percent" });

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function control(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Show the value of a slider, a share, in percent whenever it is moved.
 *
 * @param {HTMLInputElement} slider
 * @param {HTMLElement} shown
 * @returns {() => void} for a value that is set by a script
 */
export function showPercent(slider, shown) {
  const update = () => {
    shown.textContent = percent.format(Number(slider.value));
  };
  slider.addEventListener("input", update);
  update();
  return update;
}

/** Progress of a job: previews, a bar, time left or place in the queue, and a button to cancel it. */

import { button, make, showBlob } from "../elements/dom.js";

const percent = new Intl.NumberFormat(undefined, { style: "percent" });
const numbers = new Intl.NumberFormat();

/**
 * @param {import("./job.js").Job} job
 * @param {(text: string) => void} announce for screen readers
 * @returns {HTMLElement} taken out of the page when the job has ended
 */
export function jobCard(job, announce) {
  const text = make("p", { class: "text" });
  const bar = make("progress", { max: 1, "aria-label": "Progress of the images" });
  const [width, height] = String(job.values.size ?? job.model.defaults.size).split("x").map(Number);
  const cells = job.rows.map(() => {
    const image = make("img", { alt: "Preview", hidden: true });
    const waiting = make("div", { class: "waiting" });
    waiting.style.setProperty("--ratio", `${width || 1} / ${height || 1}`);
    return { image, waiting, shown: /** @type {Blob | null} */ (null), cell: make("figure", {}, image, waiting) };
  });
  const images = make("div", { class: "images small" }, ...cells.map(({ cell }) => cell));
  const cancel = button("Cancel", () => job.cancel(), { label: "Cancel these images" });
  const card = make("article", { class: "job", "aria-label": "Images that are drawn" }, images, bar, make("div", { class: "bar" }, text, cancel));
  let quarter = -1;

  function update() {
    if (job.ended) {
      for (const { image } of cells) showBlob(image, null);
      card.remove();
      return;
    }
    const share = shareOf(job);
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    text.textContent = textOf(job, share);
    job.rows.forEach((row, index) => {
      const cell = cells[index];
      const blob = row.image ?? row.preview;
      if (!blob || blob === cell.shown) return;
      showBlob(cell.image, (cell.shown = blob));
      cell.image.hidden = false;
      cell.waiting.hidden = true;
    });
    const reached = share === null ? -1 : Math.floor(share * 4);
    if (reached !== quarter) announce(text.textContent);
    quarter = reached;
  }

  job.addEventListener("update", update);
  update();
  return card;
}

/** @param {import("./job.js").Job} job @returns {number | null} null until the first step */
function shareOf({ rows }) {
  const steps = rows.map(({ step, steps, image }) => (image ? 1 : steps ? step / steps : 0));
  const sum = steps.reduce((total, each) => total + each, 0);
  return sum ? sum / rows.length : null;
}

/** @param {import("./job.js").Job} job @param {number | null} share */
function textOf(job, share) {
  if (job.retryIn) return `The queue is full. Trying again in ${numbers.format(job.retryIn)} s.`;
  if (job.state === "waiting") return "Waiting for other images of this page";
  const open = job.rows.filter(({ image }) => !image);
  const seconds = Math.max(...open.map(({ secondsLeft }) => secondsLeft ?? 0), 0);
  const left = seconds >= 1 ? `, ${duration(seconds)} left` : "";
  if (open.some(({ state }) => state === "loading")) return `${job.model.id} is being loaded`;
  if (share !== null) return `${percent.format(share)}${left}`;
  const before = Math.min(...open.map(({ state, position }) => (state === "queued" ? (position ?? Infinity) : Infinity)));
  if (before === 0) return `Next in the queue${left}`;
  if (before === 1) return `1 image before this${left}`;
  return before === Infinity ? `Starting${left}` : `${numbers.format(before)} images before this${left}`;
}

/** @param {number} seconds */
function duration(seconds) {
  const whole = Math.round(seconds);
  const unit = (/** @type {number} */ value, /** @type {string} */ name) =>
    new Intl.NumberFormat(undefined, { style: "unit", unit: name, unitDisplay: "short" }).format(value);
  return whole < 60 ? unit(whole, "second") : `${unit(Math.floor(whole / 60), "minute")} ${unit(whole % 60, "second")}`;
}

/** The page of `triptych serve --ui`: a client of the HTTP API. */

import { ApiError, OfflineError } from "./api/client.js";
import { keepKey, readKey } from "./api/key.js";
import { listModels, listSchedulers } from "./api/service.js";
import "./elements/large_view.js";
import { showBlob } from "./elements/dom.js";
import "./elements/xy_grid.js";
import { control, showPercent } from "./form/controls.js";
import { Form, rememberedModel } from "./form/form.js";
import { jobCard } from "./jobs/job_card.js";
import { JobList } from "./jobs/job_list.js";
import { Job } from "./jobs/job.js";
import { actionRunner, actionsOf } from "./results/actions.js";
import { HistoryPanel } from "./results/history_panel.js";
import { itemsOf } from "./results/items.js";
import { Stage } from "./results/stage.js";
import { readImageSettings } from "./settings/image_settings.js";
import { fromFragment, toFragment } from "./settings/share.js";
import { ask } from "./ui/dialogs.js";
import { takeImages } from "./ui/drop.js";
import { announce, notify } from "./ui/notices.js";
import { untilReady } from "./ui/status.js";

/** @typedef {import("./api/service.js").Model} Model */
/** @typedef {Record<string, unknown>} Values */

const form = new Form();
const jobs = new JobList();
const stage = new Stage();
const panel = new HistoryPanel();
const large = /** @type {import("./elements/large_view.js").LargeView} */ (control("large", HTMLElement));
const grid = /** @type {import("./elements/xy_grid.js").XyGrid} */ (control("xy", HTMLElement));
const choice = control("model", HTMLSelectElement);
const drawButton = control("draw", HTMLButtonElement);
const cancelButton = control("cancel", HTMLButtonElement);
const forgetButton = control("forget", HTMLButtonElement);

/** @type {Model[]} */
let models = [];
/** @type {import("./api/service.js").Scheduler[]} */
let schedulers = [];
/** @type {Model | null} */
let model = null;

const run = actionRunner({
  model: () => /** @type {Model} */ (model),
  draw,
  restore,
  startFrom,
  async remove({ id }) {
    if (id !== null) await panel.remove([id]);
  },
});

/** Ask the service what it has, until it answers. */
async function connect() {
  for (;;) {
    try {
      [models, schedulers] = await Promise.all([listModels(), listSchedulers()]);
      break;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) await askKey();
      else if (error instanceof OfflineError) await untilReady();
      else return notify(error instanceof Error ? error.message : String(error), { failed: true });
    }
  }
  forgetButton.hidden = !readKey();
  const shared = fromFragment(location.hash);
  const wanted = [shared?.model, model?.id, rememberedModel()].find((name) => models.some(({ id }) => id === name));
  choice.replaceChildren(...models.map(({ id }) => new Option(id, id)));
  choice.value = String(wanted ?? models[0].id);
  choice.disabled = false;
  offer();
  if (shared) {
    restore(shared);
    history.replaceState(null, "", location.pathname);
  }
  untilReady();
}

/** Offer what the chosen model can use. */
function offer() {
  model = models.find(({ id }) => id === choice.value) ?? models[0];
  form.offer(model, schedulers);
  large.actions = actionsOf(model);
  drawButton.disabled = control("share", HTMLButtonElement).disabled = false;
}

/** Ask for the key, again and again: without it there is nothing to show. */
async function askKey() {
  const input = control("key", HTMLInputElement);
  control("key-hint", HTMLElement).textContent = readKey()
    ? "The service did not accept this key."
    : "This service asks for a key. It stays in this tab until you close it.";
  const answer = await ask("dialog-key");
  if (answer === "ok" && input.value) keepKey(input.value.trim());
  else await new Promise((resolve) => document.addEventListener("click", resolve, { once: true }));
  input.value = "";
  forgetButton.hidden = !readKey();
}

/** Draw what the form says. */
async function submit() {
  if (!model || !form.check()) return;
  const values = form.values;
  const start = await form.start.start();
  draw(values, start);
  form.drawn(values.seed, Number(values.n ?? 1));
}

/**
 * Draw images.
 *
 * @param {Values} values
 * @param {import("./jobs/job.js").Start | null} [start]
 * @param {(items: import("./results/items.js").Item[]) => void} [take] in place of the stage
 */
function draw(values, start = null, take = (items) => stage.show(items)) {
  const job = new Job(/** @type {Model} */ (model), values, start);
  const card = jobCard(job, announce);
  control("jobs", HTMLElement).append(card);
  job.addEventListener("update", () => {
    if (job.state === "done") finish(job, take);
    else if (job.state === "failed") fail(job, take);
  });
  jobs.add(job);
  if (!isInView(card)) card.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** @param {Job} job @param {(items: import("./results/items.js").Item[]) => void} take */
async function finish(job, take) {
  const items = await panel.add(await itemsOf(job));
  announce(items.length > 1 ? `${items.length} images are ready` : "The image is ready");
  take(items);
}

/** @param {Job} job @param {(items: import("./results/items.js").Item[]) => void} take */
async function fail({ error, values, start }, take) {
  if (error instanceof ApiError && error.status === 401) {
    await askKey();
    draw(values, start, take);
  } else if (error instanceof ApiError && error.status < 500 && error.param) {
    form.fail(error.message, error.param);
    notify(error.message, { failed: true });
  } else {
    notify(error?.message ?? "The request failed.", { failed: true });
    if (!(error instanceof ApiError)) untilReady().then(connect);
  }
}

/**
 * Put settings into the form.
 *
 * @param {Values} settings
 */
function restore(settings) {
  large.close();
  form.restore(settings);
  if (form.others.length) notify(`Also used, without a control: ${form.others.join(", ")}.`);
  if (settings.strength && !settings.upscale) notify("This image started from another image, which its settings do not hold.");
  control("prompt", HTMLTextAreaElement).focus();
}

/** @param {Blob} blob */
async function startFrom(blob) {
  large.close();
  try {
    await form.start.load(blob);
    control("start", HTMLDetailsElement).scrollIntoView({ block: "nearest", behavior: "smooth" });
  } catch {
    notify("This file is not an image that this browser can read.", { failed: true });
  }
}

/** @param {Blob} file */
async function restoreFrom(file) {
  const found = await readImageSettings(file);
  if (!found) return notify("This image has no settings of Triptych or A1111.", { failed: true });
  const other = models.find(({ fingerprint }) => fingerprint && fingerprint === found.modelHash);
  if (other && other !== model) {
    choice.value = other.id;
    offer();
  } else if (found.modelHash && model?.fingerprint && found.modelHash !== model.fingerprint) {
    notify("Another model drew this image: the same settings give another one here.");
  }
  restore(found.values);
  if (found.unknown.length) notify(`Not used here: ${found.unknown.join(", ")}.`);
}

/** @param {File} file */
async function taken(file) {
  if (!model) return;
  const settings = await readImageSettings(file);
  const start = control("drop-start", HTMLButtonElement);
  start.hidden = !form.start.offered;
  control("drop-settings", HTMLButtonElement).disabled = !settings;
  control("drop-hint", HTMLElement).textContent = settings ? "" : "It has no settings of Triptych or A1111.";
  const image = control("drop-image", HTMLImageElement);
  showBlob(image, file);
  const answer = await ask("dialog-drop");
  showBlob(image, null);
  if (answer === "settings") await restoreFrom(file);
  else if (answer === "start") await startFrom(file);
}

async function drawGrid() {
  const start = await form.start.start();
  const [seed] = crypto.getRandomValues(new Uint32Array(1)); // one seed for all, unless it is an axis
  for (const { x, y, values } of grid.jobs()) draw({ seed, ...values }, start, ([item]) => grid.put(x, y, item.blob));
}

async function share() {
  const { n, ...values } = form.values;
  const url = `${location.origin}${location.pathname}${toFragment({ ...values, model: model?.id })}`;
  await navigator.clipboard.writeText(url).then(
    () => notify("The link with these settings is copied."),
    () => prompt("The link with these settings", url),
  );
}

/** @param {Element} element */
function isInView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}

control("form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
cancelButton.addEventListener("click", () => jobs.cancelAll());
jobs.addEventListener("change", () => (cancelButton.disabled = !jobs.busy));
choice.addEventListener("input", offer);
form.addEventListener("change", () => grid.setFields(/** @type {Model} */ (model), form.values));
form.start.addEventListener("refused", (event) => notify(/** @type {CustomEvent} */ (event).detail, { failed: true }));
grid.addEventListener("run", drawGrid);
for (const results of [stage, panel]) {
  results.addEventListener("open", (event) => {
    const { items, index } = /** @type {CustomEvent} */ (event).detail;
    large.open(items, index);
  });
}
panel.addEventListener("removed", (event) => {
  const ids = /** @type {CustomEvent<number[]>} */ (event).detail;
  stage.drop(ids);
  for (const id of ids) large.drop(id);
});
large.addEventListener("action", (event) => {
  const { name, item } = /** @type {CustomEvent} */ (event).detail;
  if (name === "variations" || name === "upscale") large.close();
  run(name, item);
});
control("share", HTMLButtonElement).addEventListener("click", share);
control("help", HTMLButtonElement).addEventListener("click", () => ask("dialog-help"));
forgetButton.addEventListener("click", () => {
  keepKey(null);
  forgetButton.hidden = true;
  notify("The key is forgotten.");
});
const settingsFile = control("settings-file", HTMLInputElement);
control("restore", HTMLButtonElement).addEventListener("click", () => settingsFile.click());
settingsFile.addEventListener("change", () => {
  const [file] = settingsFile.files ?? [];
  settingsFile.value = "";
  if (file) restoreFrom(file);
});
showPercent(control("variation_strength", HTMLInputElement), control("variation-value", HTMLElement));
takeImages(taken);
document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || large.shadowRoot?.querySelector("dialog[open]")) return;
  const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    submit();
  } else if (event.key === "Escape" && jobs.busy) jobs.cancelAll();
  else if (event.key === "?" && !typing) ask("dialog-help");
});
connect();

/**
 * One pointer, as an element wants it.
 *
 * @typedef {object} Single
 * @property {(event: PointerEvent) => void} start
 * @property {(event: PointerEvent) => void} move
 * @property {(event: PointerEvent) => void} end
 * @property {() => void} cancel a second finger came, or the system took the pointer
 */

const WHEEL_STEP = 1 / 500; // of the logarithm of the scale, per CSS pixel
const LINE = 16; // CSS pixels of a wheel's line

/**
 * Pass one pointer on to an element, and zoom and pan with two fingers or the wheel.
 *
 * @param {HTMLElement} stage
 * @param {import("./pan_zoom.js").PanZoom} view
 * @param {Single} single
 */
export function followPointers(stage, view, single) {
  /** @type {Map<number, {x: number, y: number}>} */
  const places = new Map();
  let alone = false;

  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button > 1) return;
    if (places.size === 2) return;
    stage.setPointerCapture(event.pointerId);
    places.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (places.size === 1) single.start(event);
    else if (alone) single.cancel();
    alone = places.size === 1;
  });

  stage.addEventListener("pointermove", (event) => {
    if (!places.has(event.pointerId)) return;
    const before = middle(places);
    places.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (alone) single.move(event);
    else if (places.size === 2) {
      const after = middle(places);
      view.pan(after.x - before.x, after.y - before.y);
      view.zoom(after.distance / before.distance, after.x, after.y);
    }
  });

  for (const kind of /** @type {const} */ (["pointerup", "pointercancel"])) {
    stage.addEventListener(kind, (event) => {
      if (!places.delete(event.pointerId) || !alone) return;
      alone = false;
      if (kind === "pointerup") single.end(event);
      else single.cancel();
    });
  }

  stage.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
      view.zoom(Math.exp(-pixels * WHEEL_STEP * (event.ctrlKey ? 4 : 1)), event.clientX, event.clientY);
    },
    { passive: false },
  );
}

/** @param {Map<number, {x: number, y: number}>} places of one or two fingers */
function middle(places) {
  const [first, second = first] = places.values();
  const distance = Math.max(1, Math.hypot(first.x - second.x, first.y - second.y));
  return { x: (first.x + second.x) / 2, y: (first.y + second.y) / 2, distance };
}

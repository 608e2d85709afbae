/** Elements of the page in the words of its modules: no markup in strings, no inline style. */

/** @typedef {Node | string | null} Child */

/**
 * A new element; an attribute that is true is set without a value, one that is false or null is not set.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * A button with a visible text; `label` is its full name where the text is a symbol.
 *
 * @param {string} text
 * @param {() => void} press
 * @param {{label?: string, keys?: string, kind?: string}} [options] `keys`: shortcut as aria-keyshortcuts has it
 */
export function button(text, press, { label, keys, kind } = {}) {
  const title = label || keys ? `${label ?? text}${keys ? ` (${keys.replaceAll(" ", ", ")})` : ""}` : null;
  const attributes = {
    type: "button",
    "aria-label": label ?? null,
    title,
    "aria-keyshortcuts": keys ?? null,
    class: kind ?? null,
  };
  const element = make("button", attributes, text);
  element.addEventListener("click", press);
  return element;
}

/**
 * Open shadow root with the style sheets base.css and that of the element.
 *
 * @param {HTMLElement} host
 * @param {string} name of the style sheet, without .css
 * @param {Child[]} children
 */
export function attach(host, name, ...children) {
  const root = host.attachShadow({ mode: "open", delegatesFocus: false });
  const sheets = ["base", name].map((each) =>
    make("link", { rel: "stylesheet", href: new URL(`./${each}.css`, import.meta.url).href }),
  );
  root.append(...sheets, ...children.filter((child) => child !== null));
  return root;
}

/**
 * Save a blob as a file.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function saveBlob(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

/**
 * An <img> of a blob; the URL of the one before is released.
 *
 * @param {HTMLImageElement} image
 * @param {Blob | null} blob
 */
export function showBlob(image, blob) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  if (blob) image.src = URL.createObjectURL(blob);
  else image.removeAttribute("src");
}

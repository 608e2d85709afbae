/** Dialogs with one answer. */

/**
 * Open a dialog.
 *
 * @param {string} id
 * @returns {Promise<string>} value of the button that closed it, "cancel" for Escape
 */
export function ask(id) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById(id));
  if (dialog.open) dialog.close("cancel");
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

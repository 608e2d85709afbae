/** Images that are dropped or pasted anywhere. */

/** @param {(file: File) => void} take */
export function takeImages(take) {
  const isFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  const first = (/** @type {FileList | undefined} */ files) => [...(files ?? [])].find(({ type }) => type.startsWith("image/"));
  document.addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    const file = first(event.dataTransfer?.files);
    if (file) take(file);
  });
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData?.files);
    if (file) take(file);
  });
}

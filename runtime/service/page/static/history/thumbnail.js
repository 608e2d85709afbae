const SIDE = 256; // pixels of the longer side
const QUALITY = 0.85;

/**
 * A small WebP of an image; PNG where the browser writes no WebP.
 *
 * @param {Blob} blob
 * @returns {Promise<Blob | null>} null for what is not an image
 */
export async function makeThumbnail(blob) {
  const image = await createImageBitmap(blob).catch(() => null);
  if (image === null) return null;
  const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = canvas.getContext("2d");
  if (context === null) return null;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/webp", QUALITY));
}

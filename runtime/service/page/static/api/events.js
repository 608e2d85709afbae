/** Server-sent events of a response; EventSource cannot send a key or a body. */

/**
 * @param {Response} response
 * @returns {AsyncGenerator<any, void, void>} the JSON of each event
 */
export async function* eventsOf(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = /** @type {string} */ (parts.pop());
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // closes the connection, which cancels the images
  }
}

/**
 * The blob of a base64 text.
 *
 * @param {string} text
 * @param {string} type
 */
export function blobOf(text, type) {
  return new Blob([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))], { type });
}

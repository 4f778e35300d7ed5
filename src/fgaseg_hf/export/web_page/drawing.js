// The answer as a picture: colours over the photograph, outlines, how sure, and the legend below for saving.

/** RGB of a label. */
export function colourOf(palette, label) {
  const hex = palette[label % palette.length];
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/**
 * Draws an answer onto a canvas of its size.
 *
 * `answer`: `labels`, `confidence` and `size` of the worker. `look`: `opacity`, `outlines`, `confidence` (show how sure
 * instead of colours), `only` (a label, or null for all).
 */
export function drawAnswer(canvas, bitmap, answer, palette, look) {
  const [height, width] = answer.size;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const pixels = image.data;
  const colours = new Map();
  const { labels } = answer;
  for (let at = 0; at < labels.length; at += 1) {
    const label = labels[at];
    if (look.confidence) {
      const grey = answer.confidence[at];
      pixels.set([grey, grey, grey], at * 4);
      continue;
    }
    if (label < 0 || (look.only !== null && label !== look.only)) continue;
    if (!colours.has(label)) colours.set(label, colourOf(palette, label));
    const isEdge = look.outlines && isOutline(labels, at, width);
    const opacity = isEdge ? 1 : look.opacity;
    colours.get(label).forEach((part, channel) => {
      const place = at * 4 + channel;
      pixels[place] = Math.round(pixels[place] * (1 - opacity) + part * opacity);
    });
  }
  context.putImageData(image, 0, 0);
}

/** Whether another label lies to the right or below. */
function isOutline(labels, at, width) {
  const label = labels[at];
  const isLast = (at + 1) % width === 0;
  return (!isLast && labels[at + 1] !== label) || (at + width < labels.length && labels[at + width] !== label);
}

/** The canvas with its legend below, as a canvas of its own. */
export function withLegend(canvas, entries) {
  const size = Math.max(12, Math.round(Math.min(canvas.width, canvas.height) / 26));
  const line = Math.round(size * 1.6);
  const sheet = document.createElement("canvas");
  const measure = sheet.getContext("2d");
  measure.font = `${size}px sans-serif`;
  const widest = Math.max(0, ...entries.map(({ text }) => measure.measureText(text).width));
  const column = Math.ceil(widest + size * 3);
  const columns = Math.max(1, Math.floor(canvas.width / column));
  sheet.width = Math.max(canvas.width, column);
  sheet.height = canvas.height + Math.ceil(entries.length / columns) * line + size;
  const context = sheet.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.drawImage(canvas, 0, 0);
  context.font = `${size}px sans-serif`;
  context.textBaseline = "middle";
  entries.forEach(({ text, colour }, number) => {
    const left = (number % columns) * column + size / 2;
    const top = canvas.height + Math.floor(number / columns) * line + size / 2;
    context.fillStyle = colour;
    context.fillRect(left, top + (line - size) / 2, size, size);
    context.strokeStyle = context.fillStyle = "#1d1f23";
    context.strokeRect(left, top + (line - size) / 2, size, size);
    context.fillText(text, left + size * 1.5, top + line / 2);
  });
  return sheet;
}

/** The label map as a canvas: each pixel's grey is the place of its word, counted from 1; 0 for none. */
export function labelMapCanvas(answer) {
  const [height, width] = answer.size;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  answer.labels.forEach((label, at) => image.data.set([label + 1, label + 1, label + 1, 255], at * 4));
  context.putImageData(image, 0, 0);
  return canvas;
}

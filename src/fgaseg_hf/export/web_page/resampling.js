// Pictures brought to the model's size as Pillow brings them, to the last bit: in whole numbers, one axis after the other.

const PRECISION_BITS = 22;

const FILTERS = {
  bilinear: { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weigh: (x) => {
      const a = -0.5;
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

/** For each place of the new axis: where what it is made of begins, and the weights. */
function weightsOfAxis(oldLength, newLength, filter) {
  const scale = oldLength / newLength;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: newLength }, (_, place) => {
    const center = (place + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const stop = Math.min(Math.trunc(center + support + 0.5), oldLength);
    const raw = Array.from({ length: stop - start }, (_, x) => filter.weigh((x + start - center + 0.5) / stretch));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    const weights = raw.map((weight) => {
      const value = (sum ? weight / sum : weight) * 2 ** PRECISION_BITS;
      return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    });
    return { start, weights };
  });
}

function clip(sum) {
  const value = Math.floor(sum / 2 ** PRECISION_BITS);
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * Resizes RGBA pixels (Uint8ClampedArray, rows of `width`) to RGB values (Uint8Array, 3 a pixel).
 */
export function resize(pixels, width, height, newWidth, newHeight, filterName) {
  const filter = FILTERS[filterName];
  const half = 2 ** (PRECISION_BITS - 1);
  const columns = weightsOfAxis(width, newWidth, filter);
  const narrow = new Uint8Array(height * newWidth * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < newWidth; x += 1) {
      const { start, weights } = columns[x];
      let red = half;
      let green = half;
      let blue = half;
      for (let k = 0; k < weights.length; k += 1) {
        const at = (y * width + start + k) * 4;
        red += pixels[at] * weights[k];
        green += pixels[at + 1] * weights[k];
        blue += pixels[at + 2] * weights[k];
      }
      const to = (y * newWidth + x) * 3;
      narrow[to] = clip(red);
      narrow[to + 1] = clip(green);
      narrow[to + 2] = clip(blue);
    }
  }
  const rows = weightsOfAxis(height, newHeight, filter);
  const resized = new Uint8Array(newHeight * newWidth * 3);
  const stride = newWidth * 3;
  for (let y = 0; y < newHeight; y += 1) {
    const { start, weights } = rows[y];
    for (let x = 0; x < stride; x += 1) {
      let sum = half;
      for (let k = 0; k < weights.length; k += 1) sum += narrow[(start + k) * stride + x] * weights[k];
      resized[y * stride + x] = clip(sum);
    }
  }
  return resized;
}

/** RGB values -> what the model takes: planes of (value * factor - mean) / std. */
export function normalisePixels(values, { rescale, mean, std }) {
  const area = values.length / 3;
  const planes = new Float32Array(values.length);
  for (let channel = 0; channel < 3; channel += 1) {
    for (let place = 0; place < area; place += 1) {
      planes[channel * area + place] = (values[place * 3 + channel] * rescale - mean[channel]) / std[channel];
    }
  }
  return planes;
}

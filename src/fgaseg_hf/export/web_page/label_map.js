// Scores of phrases -> which label each pixel gets, at the picture's own size, and how sure that is.

/** The two places that each place of a longer axis lies between (bilinear, align_corners False), and the second's weight. */
function spread(oldLength, newLength) {
  const first = new Int32Array(newLength);
  const second = new Int32Array(newLength);
  const weight = new Float32Array(newLength);
  for (let place = 0; place < newLength; place += 1) {
    const source = Math.max((place + 0.5) * (oldLength / newLength) - 0.5, 0);
    first[place] = Math.min(Math.floor(source), oldLength - 1);
    second[place] = Math.min(first[place] + 1, oldLength - 1);
    weight[place] = source - first[place];
  }
  return { first, second, weight };
}

/** Logits of phrases (phrases, rows * columns) -> of labels: each label has those of its best phrase. */
export function mergePhrases(logits, area, labelOf, numLabels) {
  if (labelOf.length === numLabels) return logits;
  const merged = new Float32Array(numLabels * area).fill(-3.4e38);
  labelOf.forEach((label, phrase) => {
    for (let place = 0; place < area; place += 1) {
      const value = logits[phrase * area + place];
      if (value > merged[label * area + place]) merged[label * area + place] = value;
    }
  });
  return merged;
}

/** Labels that are best somewhere can be: those whose greatest value is not below another's least. */
function labelsThatCanWin(logits, numLabels, area) {
  const highest = [];
  let bar = -Infinity;
  for (let label = 0; label < numLabels; label += 1) {
    let least = Infinity;
    let most = -Infinity;
    for (let place = label * area; place < (label + 1) * area; place += 1) {
      if (logits[place] < least) least = logits[place];
      if (logits[place] > most) most = logits[place];
    }
    highest.push(most);
    bar = Math.max(bar, least);
  }
  return highest.flatMap((most, label) => (most >= bar ? [label] : []));
}

/**
 * Finds each pixel's label.
 *
 * `threshold`: pixels whose best label is less likely get -1; 0 for off. Returns `labels` (Int16Array), `confidence`
 * (Uint8Array, 255 for certain) and `shares` (of each label).
 */
export function decidePixels(logits, [rows, columns], numLabels, [height, width], threshold) {
  const area = rows * columns;
  const best = new Float32Array(width * height).fill(-Infinity);
  const labels = new Int16Array(width * height).fill(-1);
  const across = spread(columns, width);
  const down = spread(rows, height);
  const wide = new Float32Array(rows * width);
  for (const label of labelsThatCanWin(logits, numLabels, area)) {
    for (let row = 0; row < rows; row += 1) {
      const from = label * area + row * columns;
      for (let x = 0; x < width; x += 1) {
        const left = logits[from + across.first[x]];
        wide[row * width + x] = left + (logits[from + across.second[x]] - left) * across.weight[x];
      }
    }
    for (let y = 0; y < height; y += 1) {
      const above = down.first[y] * width;
      const below = down.second[y] * width;
      const weight = down.weight[y];
      for (let x = 0, at = y * width; x < width; x += 1, at += 1) {
        const value = wide[above + x] + (wide[below + x] - wide[above + x]) * weight;
        if (value > best[at]) {
          best[at] = value;
          labels[at] = label;
        }
      }
    }
  }
  return withConfidence(labels, best, numLabels, threshold);
}

function withConfidence(labels, best, numLabels, threshold) {
  const confidence = new Uint8Array(labels.length);
  const counts = new Array(numLabels).fill(0);
  for (let at = 0; at < labels.length; at += 1) {
    let probability = 1 / (1 + Math.exp(-best[at]));
    if (threshold > 0 && probability < threshold) {
      labels[at] = -1;
      probability = 1 - probability;
    } else {
      counts[labels[at]] += 1;
    }
    confidence[at] = Math.round(probability * 255);
  }
  return { labels, confidence, shares: counts.map((count) => count / labels.length) };
}

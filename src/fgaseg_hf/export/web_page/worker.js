// The model beside the page: a picture is encoded once, then words are asked of it.

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { decidePixels, mergePhrases } from "./label_map.js";
import { normalisePixels, resize } from "./resampling.js";
import { Tokenizer } from "./tokenizer.js";

// Prompts that go through the text tower at once.
const PROMPTS_AT_ONCE = 64;

const state = { about: null, tokenizer: null, sessions: {}, features: null, size: null, embeddings: new Map() };

async function read(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} is missing beside this page (${response.status}): export it anew.`);
  return response;
}

async function open() {
  // Its other half is in the bundle.
  ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
  // Threads need headers that not every host sends.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  state.about = await (await read("page.json")).json();
  const session = async (name) => {
    const content = new Uint8Array(await (await read(`${name}.onnx`)).arrayBuffer());
    state.sessions[name] = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  };
  await session("picture");
  await session("words");
  await session("text_encoder");
  state.tokenizer = new Tokenizer(await (await read("tokenizer.json")).json(), state.about.tokens);
  return { about: state.about };
}

async function encodePicture({ pixels, width, height }) {
  const { size, resample } = state.about.picture;
  const values = normalisePixels(resize(pixels, width, height, size[1], size[0], resample), state.about.picture);
  const input = new ort.Tensor("float32", values, [1, 3, size[0], size[1]]);
  state.features = await state.sessions.picture.run({ pixel_values: input });
  state.size = answerSize(height, width);
  return {};
}

/** A large picture's answer is drawn smaller: memory and time are the browser's. */
function answerSize(height, width) {
  const factor = Math.min(1, Math.sqrt(state.about.max_pixels / (height * width)));
  return [Math.max(1, Math.round(height * factor)), Math.max(1, Math.round(width * factor))];
}

/** Embeddings of phrases, (phrases, dim): the mean over the templates; those of earlier questions are known. */
async function encodePhrases(phrases) {
  const { templates, dim } = state.about;
  const missing = phrases.filter((phrase) => !state.embeddings.has(phrase));
  const atOnce = Math.max(1, Math.floor(PROMPTS_AT_ONCE / templates.length));
  for (let start = 0; start < missing.length; start += atOnce) {
    const some = missing.slice(start, start + atOnce);
    const prompts = some.flatMap((phrase) => templates.map((template) => template.replace("{}", () => phrase)));
    const { ids, length } = state.tokenizer.encodeAll(prompts);
    const input = new ort.Tensor("int64", ids, [prompts.length, length]);
    const { text_embeddings: rows } = await state.sessions.text_encoder.run({ input_ids: input });
    some.forEach((phrase, number) => {
      const first = number * templates.length;
      state.embeddings.set(phrase, meanOfUnitRows(rows.data.subarray(first * dim, (first + templates.length) * dim), dim));
    });
  }
  const together = new Float32Array(phrases.length * dim);
  phrases.forEach((phrase, number) => together.set(state.embeddings.get(phrase), number * dim));
  return new ort.Tensor("float32", together, [phrases.length, dim]);
}

function meanOfUnitRows(rows, dim) {
  const mean = new Float32Array(dim);
  rows.forEach((value, place) => (mean[place % dim] += value));
  const length = Math.sqrt(mean.reduce((sum, value) => sum + value * value, 0));
  return mean.map((value) => value / length);
}

async function askWords({ phrases, labelOf, numLabels, threshold }) {
  const embeddings = await encodePhrases(phrases);
  const { logits } = await state.sessions.words.run({ text_embeddings: embeddings, ...state.features });
  const [, , rows, columns] = logits.dims;
  const merged = mergePhrases(logits.data, rows * columns, labelOf, numLabels);
  return { ...decidePixels(merged, [rows, columns], numLabels, state.size, threshold), size: state.size };
}

const ANSWERS = { open, picture: encodePicture, words: askWords };

// One question at a time, in their order.
let last = Promise.resolve();

self.onmessage = ({ data: { id, kind, question } }) => {
  last = last.then(async () => {
    try {
      if (kind !== "open" && !state.tokenizer) throw new Error("The model could not be read: load this page again.");
      const started = performance.now();
      const answer = await ANSWERS[kind](question);
      self.postMessage({ id, answer, seconds: (performance.now() - started) / 1000 });
    } catch (error) {
      self.postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};

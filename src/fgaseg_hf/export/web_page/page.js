// What is on the screen: a question in, the worker's answer out.

import { drawAnswer, labelMapCanvas, withLegend } from "./drawing.js";
import { parseWords } from "./words.js";

const REST = "none of these";
const WELCOME = "Choose a picture, then type what to look for.";

const element = (id) => document.getElementById(id);
const state = { about: null, bitmap: null, answer: null, asked: null, only: null, isBusy: false, isWaiting: false };

// The worker, as a function that answers.
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let nextId = 0;

function ask(kind, question, transfer = []) {
  return new Promise((resolve, reject) => {
    nextId += 1;
    waiting.set(nextId, { resolve, reject });
    worker.postMessage({ id: nextId, kind, question }, transfer);
  });
}

worker.onmessage = ({ data: { id, answer, error, seconds } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error === undefined) resolve({ ...answer, seconds });
  else reject(new Error(error));
};
worker.onerror = () => say("The model cannot be read by this browser: take a current Chrome, Edge, Firefox or Safari.", true);

function say(sentence, isWrong = false) {
  element("status").textContent = sentence;
  element("status").classList.toggle("wrong", isWrong);
}

/** Asks for the words that stand there now; while an answer is on its way, only the newest question waits. */
async function refresh() {
  if (state.isBusy) {
    state.isWaiting = true;
    return;
  }
  state.isBusy = true;
  element("figure").setAttribute("aria-busy", "true");
  try {
    do {
      state.isWaiting = false;
      await answerOnce();
    } while (state.isWaiting);
  } finally {
    state.isBusy = false;
    element("figure").setAttribute("aria-busy", "false");
  }
}

async function answerOnce() {
  try {
    const words = parseWords(element("words").value);
    if (!state.about || !state.bitmap || words.labels.length === 0) {
      show(null, []);
      if (state.about) say(WELCOME);
      return;
    }
    if (words.phrases.length > state.about.max_words) {
      throw new Error(`These are ${words.phrases.length} words: ask for at most ${state.about.max_words} at once.`);
    }
    const hasRest = element("background").checked;
    if (hasRest && words.labels.includes(REST)) throw new Error(`“${REST}” is the answer for the rest: rename that word.`);
    const threshold = Number(element("threshold").value) || (hasRest ? 0.5 : 0);
    say("Looking …");
    const answer = await ask("words", { ...words, numLabels: words.labels.length, threshold });
    show(answer, words.labels);
    say(`Answered in ${answer.seconds.toFixed(2)} seconds.`);
  } catch (error) {
    show(null, []);
    say(error.message, true);
  }
}

/** Shows an answer, or none. */
function show(answer, labels) {
  if (answer && element("background").checked) {
    labels = [...labels, REST];
    answer.labels.forEach((label, at) => (answer.labels[at] = label < 0 ? labels.length - 1 : label));
    answer.shares.push(1 - answer.shares.reduce((sum, share) => sum + share, 0));
  }
  state.answer = answer;
  const wasOnly = state.asked?.[state.only];
  state.asked = labels;
  state.only = wasOnly !== undefined && labels.includes(wasOnly) ? labels.indexOf(wasOnly) : null;
  draw();
  fillLegend();
  element("downloads").hidden = !answer;
}

function draw() {
  const canvas = element("canvas");
  if (state.answer) {
    drawAnswer(canvas, state.bitmap, state.answer, state.about.palette, {
      opacity: Number(element("opacity").value),
      outlines: element("outlines").checked,
      confidence: element("confidence").checked,
      only: state.only,
    });
    canvas.setAttribute("aria-label", `The picture in colours: ${found().map(describe).join(", ") || "nothing found"}`);
  } else if (state.bitmap) {
    const factor = Math.min(1, 1600 / Math.max(state.bitmap.width, state.bitmap.height));
    canvas.width = Math.round(state.bitmap.width * factor);
    canvas.height = Math.round(state.bitmap.height * factor);
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(state.bitmap, 0, 0, canvas.width, canvas.height);
    canvas.setAttribute("aria-label", "The picture, without an answer");
  }
}

/** Places of the labels that are in the picture, the largest first. */
function found() {
  if (!state.answer) return [];
  const { shares } = state.answer;
  return shares.map((_, label) => label).filter((label) => shares[label] > 0).sort((a, b) => shares[b] - shares[a]);
}

function percent(share) {
  return share >= 0.001 ? `${(share * 100).toFixed(1)} %` : "< 0.1 %";
}

const describe = (label) => `${state.asked[label]} ${percent(state.answer.shares[label])}`;

function fillLegend() {
  const entries = found().map((label) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(state.only === label));
    button.title = "Show this word alone";
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.setAttribute("aria-hidden", "true");
    swatch.style.background = state.about.palette[label % state.about.palette.length];
    const name = document.createElement("span");
    name.className = "name";
    name.textContent = state.asked[label];
    const share = document.createElement("span");
    share.textContent = percent(state.answer.shares[label]);
    const bar = document.createElement("meter");
    bar.value = state.answer.shares[label];
    bar.setAttribute("aria-hidden", "true");
    button.append(swatch, name, share, bar);
    button.addEventListener("click", () => {
      state.only = state.only === label ? null : label;
      draw();
      fillLegend();
      element("legend").querySelector(`[data-label="${label}"]`)?.focus();
    });
    button.dataset.label = label;
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  element("legend").replaceChildren(...entries);
  const missing = state.answer ? state.asked.filter((_, label) => state.answer.shares[label] === 0) : [];
  const more = missing.length > 20 ? ` and ${missing.length - 20} more` : "";
  element("missing").textContent = missing.length ? `Not found: ${missing.slice(0, 20).join(", ")}${more}.` : "";
}

/** Takes a file, or whatever else was dropped or pasted. */
async function takePicture(blob) {
  if (!blob) return;
  try {
    say("The picture is being read.");
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => null);
    if (!bitmap) throw new Error("This is no picture that the browser can read: take a PNG, JPEG or WebP file.");
    const { width, height } = bitmap;
    if (width * height > 50e6) throw new Error(`The picture has ${Math.round((width * height) / 1e6)} megapixels: take one of at most 50.`);
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    await ask("picture", { pixels, width, height }, [pixels.buffer]);
    state.bitmap = bitmap;
    await refresh();
  } catch (error) {
    state.bitmap = null;
    show(null, []);
    say(error.message, true);
  }
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveCanvas(name, canvas) {
  canvas.toBlob((blob) => save(name, blob), "image/png");
}

function showUnderPointer(event) {
  const canvas = element("canvas");
  const note = element("under-pointer");
  const box = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
  const at = y * canvas.width + x;
  note.hidden = !state.answer || x < 0 || y < 0 || x >= canvas.width || y >= canvas.height;
  if (note.hidden) return;
  const label = state.answer.labels[at];
  const sure = Math.round((state.answer.confidence[at] / 255) * 100);
  note.textContent = label < 0 ? "no word" : `${state.asked[label]}, ${sure} % sure`;
  note.style.left = `${Math.max(0, Math.min(event.clientX - box.left + 12, box.width - note.offsetWidth))}px`;
  note.style.top = `${Math.max(0, event.clientY - box.top - 32)}px`;
}

function listen() {
  element("file").addEventListener("change", (event) => takePicture(event.target.files[0]));
  const drop = element("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takePicture(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) takePicture(event.clipboardData.files[0]);
  });
  for (const id of ["words", "threshold"]) element(id).addEventListener("input", refresh);
  element("background").addEventListener("change", refresh);
  for (const id of ["opacity", "outlines", "confidence"]) element(id).addEventListener("input", draw);
  element("threshold").addEventListener("input", () => {
    element("threshold-value").textContent = Number(element("threshold").value) || "off";
  });
  element("opacity").addEventListener("input", () => {
    element("opacity-value").textContent = `${Math.round(element("opacity").value * 100)} %`;
  });
  element("canvas").addEventListener("pointermove", showUnderPointer);
  element("canvas").addEventListener("pointerleave", () => (element("under-pointer").hidden = true));
  element("save-overlay").addEventListener("click", () => {
    const colour = (label) => state.about.palette[label % state.about.palette.length];
    const entries = found().map((label) => ({ text: describe(label), colour: colour(label) }));
    saveCanvas("segmentation_overlay.png", withLegend(element("canvas"), entries));
  });
  element("save-labels").addEventListener("click", () => saveCanvas("segmentation_labels.png", labelMapCanvas(state.answer)));
  element("save-words").addEventListener("click", () => {
    const words = state.asked.map((word, label) => ({ word, value: label + 1, share: state.answer.shares[label] }));
    save("segmentation_words.json", new Blob([JSON.stringify({ words }, null, 2)], { type: "application/json" }));
  });
  element("example").addEventListener("click", async () => {
    element("words").value ||= state.about.example.words.join(", ");
    await takePicture(await (await fetch("example.png")).blob());
  });
}

async function start() {
  listen();
  try {
    const { about, seconds } = await ask("open", {});
    state.about = about;
    element("example").hidden = !about.example;
    // What the model was trained for; 0 gives every pixel a word.
    element("threshold").value = about.threshold;
    element("threshold-value").textContent = about.threshold || "off";
    const license = about.license ? `, licence ${about.license}` : "";
    element("about").textContent =
      `Nothing is uploaded: pictures and words stay on this device. Model: ${about.model}${license}. ` +
      `Computed by onnxruntime-web ${about.runtime} (MIT).`;
    say(`The model was read in ${seconds.toFixed(1)} seconds. ${WELCOME}`);
    await refresh();
  } catch (error) {
    say(error.message, true);
  }
}

// What a test may look at.
globalThis.fgaseg = { state };

start();

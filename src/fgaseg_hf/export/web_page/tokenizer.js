// CLIP's byte-pair tokenizer, by the `tokenizer.json` that lies beside the model.

// What `export` has checked: these are the patterns of that file.
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu;

/** The printable character that stands for each byte. */
function byteCharacters() {
  const characters = new Array(256);
  let next = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    characters[byte] = String.fromCodePoint(isPrintable ? byte : next);
    if (!isPrintable) next += 1;
  }
  return characters;
}

export class Tokenizer {
  /** Takes the parsed file and `{ bos, eos, pad, maxLength }`. */
  constructor(file, { bos, eos, pad, maxLength }) {
    this.vocabulary = new Map(Object.entries(file.model.vocab));
    const merges = file.model.merges.map((merge) => (Array.isArray(merge) ? merge.join(" ") : merge));
    this.ranks = new Map(merges.map((merge, rank) => [merge, rank]));
    Object.assign(this, { bos, eos, pad, maxLength });
    this.bytes = byteCharacters();
    this.encoder = new TextEncoder();
    this.kept = new Map();
  }

  /** Token ids of a prompt, with its begin and end. */
  encode(prompt) {
    // One character at a time, as the tokenizer does it: a word's last sigma stays what it is.
    const lowered = [...prompt.normalize("NFC").replace(/\s+/gu, " ")].map((character) => character.toLowerCase());
    const pieces = lowered.join("").match(PIECES) ?? [];
    const ids = [this.bos, ...pieces.flatMap((piece) => this.encodePiece(piece)), this.eos];
    if (ids.length > this.maxLength) {
      throw new Error(`“${prompt.slice(0, 60)}” has ${ids.length} tokens but the model takes ${this.maxLength}: shorten it.`);
    }
    return ids;
  }

  /** Rows of one length: an array of prompts -> `{ ids: BigInt64Array, length }`. */
  encodeAll(prompts) {
    const rows = prompts.map((prompt) => this.encode(prompt));
    const length = Math.max(...rows.map((row) => row.length));
    const ids = new BigInt64Array(rows.length * length).fill(BigInt(this.pad));
    rows.forEach((row, number) => row.forEach((id, place) => (ids[number * length + place] = BigInt(id))));
    return { ids, length };
  }

  encodePiece(piece) {
    if (!this.kept.has(piece)) {
      let parts = [...this.encoder.encode(piece)].map((byte) => this.bytes[byte]);
      parts[parts.length - 1] += "</w>";
      while (parts.length > 1) {
        const ranks = parts.slice(1).map((part, place) => this.ranks.get(`${parts[place]} ${part}`) ?? Infinity);
        const lowest = Math.min(...ranks);
        if (lowest === Infinity) break;
        const place = ranks.indexOf(lowest);
        parts = [...parts.slice(0, place), parts[place] + parts[place + 1], ...parts.slice(place + 2)];
      }
      this.kept.set(piece, parts.map((part) => this.vocabulary.get(part) ?? this.eos));
    }
    return this.kept.get(piece);
  }
}

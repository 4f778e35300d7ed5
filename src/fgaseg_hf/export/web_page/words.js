// What people type -> what is looked for: names, synonyms in brackets, groups. Python's twin is `apps/bracketed_words.py`.

export const COMMAS = ",，、،";

/** What two spellings have in common for the tokenizer: case, blanks and composed accents make no difference. */
export function normalise(phrase) {
  return phrase.normalize("NFC").trim().replace(/\s+/gu, " ").toLowerCase().normalize("NFC");
}

/** Splits at commas and line ends that stand in no brackets; blank parts are left out. */
export function splitOutsideBrackets(text) {
  const parts = [""];
  let depth = 0;
  for (const character of text) {
    if (character === "(") depth += 1;
    if (character === ")") depth -= 1;
    if (depth < 0 || depth > 1) throw new Error("The brackets do not match: write sofa (couch, settee).");
    if (depth === 0 && (COMMAS.includes(character) || /[\t\r\n]/u.test(character))) parts.push("");
    else parts[parts.length - 1] += character;
  }
  if (depth !== 0) throw new Error("A bracket is not closed: write sofa (couch, settee).");
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

/**
 * Reads the words.
 *
 * Returns `labels` (the answers, in the order in which they are first named), `phrases` (what is looked for) and
 * `labelOf` (for each phrase the place of its label).
 */
export function parseWords(text) {
  const labels = [];
  const phrases = [];
  const labelOf = [];
  const taken = new Map();
  const add = (phrase, label) => {
    const key = normalise(phrase);
    if (taken.has(key)) throw new Error(`“${phrase}” is given twice: leave one out.`);
    taken.set(key, label);
    phrases.push(phrase);
    labelOf.push(label);
  };
  for (const part of splitOutsideBrackets(text)) {
    const found = /^([^()=]*?)\s*(=)?\s*(?:\(([^()]*)\))?$/u.exec(part);
    const name = found?.[1]?.trim();
    const members = found?.[3] === undefined ? null : splitOutsideBrackets(found[3]);
    if (!name || (found[2] && !members) || (members && members.length === 0)) {
      throw new Error(`“${part}” cannot be read: write sofa (couch, settee), or vehicle = (car, bus).`);
    }
    if (labels.some((label) => normalise(label) === normalise(name))) {
      throw new Error(`“${name}” is given twice: leave one out.`);
    }
    labels.push(name);
    // The name of a group is what is answered, not what is looked for.
    if (!found[2]) add(name, labels.length - 1);
    for (const member of members ?? []) add(member, labels.length - 1);
  }
  return { labels, phrases, labelOf };
}

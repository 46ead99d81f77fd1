// The words of a text as a search compares them: by their stems, in both spellings, whole and in parts.
"use strict";

window.SearchWords = (() => {
  const WORD = /[\p{L}\p{N}]+(?:[-‐_'’][\p{L}\p{N}]+|\.\p{N}+)*/gu;
  const JOINT = /[-‐_'’.]|\p{Ll}\p{Lu}/u;
  const CAMEL = [/([\p{Ll}\p{N}])(\p{Lu}\p{L})/gu, /(\p{Lu})(\p{Lu}\p{Ll}{2})/gu];
  const NAME = /_|\p{Ll}\p{Lu}/u;
  const VOWEL = /[aeiouy]/;
  // What stands in every sentence: it parts no words that belong together, and is asked for only alone.
  const SMALL = new Set(
    "a an and are as at be by can do does for from how i in is it my of on or the to what when which why with".split(" "),
  );
  const stems = new Map();

  // A stem only joins what a reader takes for the same word: "normalise" and "normalization", but not
  // "normal". A stemmer for prose joins more, and finds "regular" for "regularization".
  function cut(word) {
    let w = word.replace(/isation/, "ization").replace(/is(e|es|ed|er|ers|ing)$/, "iz$1");
    w = w.replace(/([a-z]{3})our/, "$1or");
    if (w.length < 4) return w;
    w = w.replace(/(ss|x|sh|ch)es$/, "$1").replace(/([a-z]{2})ies$/, "$1y").replace(/(?<!bia|[sui])s$/, "");
    w = w.replace(/(iz)(?:ation|er)$/, "$1").replace(/ation$/, "at").replace(/(ss|ct)ion$/, "$1");
    const [, root] = w.match(/^(.{3,})ing$/) ?? w.match(/^(.{4,})(?<!e)ed$/) ?? [];
    if (root && VOWEL.test(root)) w = root.replace(/([bdfgmnprt])\1$/, "$1").replace(/(.{4})ll$/, "$1l");
    return w.length > 4 ? w.replace(/e$/, "") : w;
  }

  function stem(word) {
    let found = stems.get(word);
    if (found === undefined) stems.set(word, (found = cut(word)));
    return found;
  }

  // Call visit(stem, position, start, end, word, joined) for each word of a text. "all-reduce" and "LayerNorm"
  // are several words, and joined one word too; a small word has the position of the next one.
  function each(text, visit) {
    let position = 0;
    for (const found of text.matchAll(WORD)) {
      const whole = found[0].replace(/['’]s$/, "");
      const [start, end] = [found.index, found.index + whole.length];
      const parts = JOINT.test(whole)
        ? CAMEL.reduce((w, border) => w.replace(border, "$1 $2"), whole).split(/[-‐_'’. ]/)
        : [whole];
      if (parts.length > 1) {
        const joined = parts.join("").toLowerCase();
        visit(stem(joined), position, start, end, joined, true);
      }
      for (const part of parts) {
        const word = part.toLowerCase();
        visit(stem(word), position, start, end, word);
        if (!SMALL.has(word)) position += 1;
      }
    }
    return position;
  }

  // The words of a query, a synonym or a title, in order: those that matter, or all if none does. A name such
  // as LayerNorm or latest_valid is one word, if it is known; of all-reduce each part says what they are joined.
  function parts(text, known = () => true) {
    const found = [];
    let [name, whole] = [null, {}];
    each(text, (stem, position, start, end, word, joined) => {
      if (joined && NAME.test(text.slice(start, end)) && known(stem)) name = start;
      else if (joined) return (whole = { start, stem });
      else if (name === start) return;
      found.push({ stem, word, joined: whole.start === start ? whole.stem : null });
    });
    const some = found.filter(({ word }) => !SMALL.has(word));
    return some.length ? some : found;
  }

  // Whether two words differ by so many letters at most: one more, one less, another, two changed round.
  function near(a, b, most) {
    if (Math.abs(a.length - b.length) > most) return false;
    let [before, last, row] = [null, null, [...Array(b.length + 1).keys()]];
    for (let i = 1; i <= a.length; i++) {
      [before, last, row] = [last, row, [i]];
      for (let j = 1; j <= b.length; j++) {
        const other = a[i - 1] === b[j - 1] ? 0 : 1;
        row[j] = Math.min(row[j - 1] + 1, last[j] + 1, last[j - 1] + other);
        if (before && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
      }
      if (Math.min(...row) > most) return false;
    }
    return row[b.length] <= most;
  }

  return { stem, each, parts, near };
})();

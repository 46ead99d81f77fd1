// Shows a place that was found: a piece of its text with the words that were asked for, marked.
"use strict";

window.SearchMarks = (() => {
  const [LONG, BEFORE, SENTENCE] = [230, 50, 90];

  // Where the words of the query, or those that stand for them, are in a text: [[start, end], ...].
  function marks(text, asked) {
    const first = new Map();
    for (const phrase of asked) first.set(phrase[0], [...(first.get(phrase[0]) ?? []), phrase]);
    const at = []; // position -> the stems there
    const ends = [];
    SearchWords.each(text, (stem, position, start, end) => {
      (at[position] ??= new Set()).add(stem);
      // Of a small word and the word after it, which share a position, the second.
      ends[position] = [start, end];
    });
    const found = [];
    at.forEach((stems, position) => {
      for (const stem of stems) {
        for (const phrase of first.get(stem) ?? []) {
          if (!phrase.every((one, i) => at[position + i]?.has(one))) continue;
          found.push([ends[position][0], ends[position + phrase.length - 1][1]]);
        }
      }
    });
    const apart = [];
    for (const [start, end] of found.sort((a, b) => a[0] - b[0])) {
      const last = apart.at(-1);
      if (last && start < last[1]) last[1] = Math.max(last[1], end);
      else apart.push([start, end]);
    }
    return apart;
  }

  // A text cut at its marks: [[text, whether marked], ...].
  function pieces(text, marked, from = 0, to = text.length) {
    const found = [];
    let done = from;
    for (const [start, end] of marked) {
      if (start < from || end > to) continue;
      if (start > done) found.push([text.slice(done, start), false]);
      found.push([text.slice(start, end), true]);
      done = end;
    }
    if (done < to) found.push([text.slice(done, to), false]);
    return found;
  }

  // The place of the text that has the most different words, and then the most of them.
  function densest(text, marked) {
    let [best, most] = [0, -1];
    marked.forEach(([start], i) => {
      const inside = marked.slice(i).filter(([, end]) => end <= start + LONG - BEFORE);
      const words = new Set(inside.map(([a, b]) => SearchWords.stem(text.slice(a, b).toLowerCase())));
      const value = 10 * words.size + Math.min(inside.length, 9);
      if (value > most) [best, most] = [start, value];
    });
    return best;
  }

  // From the beginning of a sentence if one is near, else from the beginning of a word.
  function window(text, marked) {
    if (text.length <= LONG) return [0, text.length];
    const at = marked.length ? densest(text, marked) : 0;
    const back = text.slice(Math.max(0, at - SENTENCE), at);
    const sentence = [...back.matchAll(/[.?!:] (?=\p{Lu})/gu)].at(-1);
    let from = Math.max(0, at - BEFORE);
    if (at <= SENTENCE) from = 0;
    else if (sentence) from = at - back.length + sentence.index + 2;
    else from = text.indexOf(" ", from) + 1;
    const to = from + LONG >= text.length ? text.length : text.lastIndexOf(" ", from + LONG);
    return [from, to];
  }

  // {pieces, code: whether it is a line of code}. Text before code, and where neither has the words, as
  // where the heading alone has them, the beginning.
  function snippet({ text, code }, asked) {
    const inText = marks(text, asked);
    if (inText.length || !code) {
      const [from, to] = window(text, inText);
      const shown = pieces(text, inText, from, to);
      if (from > 0) shown.unshift(["… ", false]);
      if (to < text.length) shown.push([" …", false]);
      return { pieces: shown, code: false };
    }
    for (const line of code.split("\n")) {
      const marked = marks(line.trim(), asked);
      if (marked.length) return { pieces: pieces(line.trim(), marked), code: true };
    }
    return snippet({ text, code: "" }, asked);
  }

  // The words as they stand in a place, which its page then shows (_static/found.js).
  function forms({ heading, text, code }, asked) {
    const all = [heading, text, code].flatMap((part) => marks(part, asked).map(([a, b]) => part.slice(a, b)));
    return [...new Set(all.map((word) => word.toLowerCase()))].slice(0, 8);
  }

  return { marks, pieces, snippet, forms };
})();

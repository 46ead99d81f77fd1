// Finds the places of the book that have the words of a query, the best first.
//
// The order is BM25 with fields: a rare word counts more than a common one, the second time that a word
// stands somewhere counts less than the first, and a heading counts more than text. Neighbours in the
// query that stand together count as one more word. A place that lacks a word is shown only where hardly
// any has all of them; a word that the book does not have is taken for the one a letter away.
"use strict";

window.BookSearch = (() => {
  const stemsOf = (text) => SearchWords.parts(text).map(({ stem }) => stem);

  return class BookSearch {
    // What a word counts by where it stands, and how much of that a long field takes away.
    static FIELDS = [
      { name: "heading", weight: 6, evens: 0.4 },
      { name: "bold", weight: 1.5, evens: 0.3 },
      { name: "text", weight: 1, evens: 0.6 },
      { name: "code", weight: 0.3, evens: 0.6 },
    ];
    static PAGE = 1.2; // a word of the title of the page, at each of its sections
    static KINDS = { chapter: 1, aside: 0.6, glossary: 0.5, reference: 0.6, solution: 0.45, api: 0.35, bibliography: 0.15 };
    static SATURATION = 2;
    static SAME = 0.85; // a synonym
    static SEE = 0.5; // what else is shown, or a longer word that begins with the one typed
    static TITLE = 1.5; // the query is the heading
    static EXPLAINS = 3; // the query is a term of the glossary, which names this page for it
    static FEW = 5; // so few places have all words that those with some of them are shown too

    constructor({ pages, places, same, see }) {
      this.postings = new Map(); // stem -> Map(place -> [where it stands: position * 4 + field, ...])
      this.words = new Set();
      this.names = new Set(); // of the API
      this.explains = new Map(); // term of the glossary -> pages
      this.pages = pages.map(([address, title, number]) => ({ address, title, number, stems: new Set(stemsOf(title)) }));
      this.places = places.map((row, id) => this.#read(row, id));
      const total = (f) => this.places.reduce((sum, place) => sum + place.lengths[f], 0);
      this.mean = BookSearch.FIELDS.map((field, f) => total(f) / places.length);
      this.others = new Map(); // words -> what else is looked for
      const also = (words, weight) => words.map((phrase) => ({ phrase, weight }));
      for (const [word, others] of Object.entries(see)) {
        this.others.set(stemsOf(word).join(" "), also(others.map(stemsOf), BookSearch.SEE));
      }
      for (const group of same.map((words) => words.map(stemsOf))) {
        for (const words of group) {
          this.others.set(words.join(" "), also(group.filter((other) => other !== words), BookSearch.SAME));
        }
      }
    }

    #read([page, kind, anchor, heading, bold, text, code, leads], id) {
      const place = { id, page: this.pages[page], kind, anchor, heading, bold, text, code };
      place.lengths = BookSearch.FIELDS.map(({ name }, f) =>
        SearchWords.each(place[name], (stem, position, start, end, word) => {
          let places = this.postings.get(stem);
          if (!places) this.postings.set(stem, (places = new Map()));
          const stands = places.get(id);
          if (stands) stands.push(position * 4 + f);
          else places.set(id, [position * 4 + f]);
          this.words.add(word);
        }),
      );
      // Of a name of the API, its last part.
      place.name = stemsOf(kind === "api" ? heading.split(".").pop() : heading).join(" ");
      if (kind === "api") this.names.add(place.name);
      if (leads.length) this.explains.set(place.name, leads.map((number) => this.pages[number]));
      return place;
    }

    // {found: places in order, asked: what was looked for, read: [[word, the one it was taken for], ...],
    //  unknown: words that the book does not have, perhaps: the query with words that it has}
    search(query) {
      const { units, ...answer } = this.#ask(query, true);
      // Words that mean something together may also stand apart.
      if (answer.found.length < BookSearch.FEW && units.some(({ typed }) => typed.length > 1)) {
        const apart = this.#ask(query, false);
        answer.found = [...new Set([...answer.found, ...apart.found])];
        answer.asked.push(...apart.asked);
      }
      return answer;
    }

    #ask(query, together) {
      const { units, read, unknown, perhaps } = this.#units(query, together);
      const scores = new Map();
      const has = new Map();
      for (const unit of units) this.#score(unit, scores, has);
      for (const pair of this.#pairs(units)) this.#score(pair, scores);
      const asked = units.flatMap((unit) => unit.phrases.map(({ phrase }) => phrase));
      const favour = this.#favour(query, units, asked);
      const ranked = [...has].map(([id, count]) => {
        const place = this.places[id];
        return { place, count, score: scores.get(id) * favour(place) };
      });
      const all = ranked.filter(({ count }) => count === units.length).length;
      const least = all >= BookSearch.FEW ? units.length : Math.max(1, units.length - 1);
      const found = ranked
        .filter(({ count }) => count >= least)
        .sort((a, b) => b.count - a.count || b.score - a.score || a.place.id - b.place.id)
        .map(({ place }) => place);
      return { units, found, asked, read, unknown, perhaps };
    }

    // How much a place counts beside the words in it. A name of the package is looked for in the API.
    #favour(query, units, asked) {
      const last = stemsOf(query.trim().split(".").pop()).join(" ");
      const isName = /^[\w.]*(?:[._]\w|[a-z][A-Z])[\w.]*(?:\(\))?$/.test(query.trim()) && this.names.has(last);
      const kinds = isName ? { ...BookSearch.KINDS, api: 1 } : BookSearch.KINDS;
      const titles = [units.flatMap((unit) => unit.typed).join(" "), isName ? last : null];
      const explain = new Set(asked.flatMap((phrase) => this.explains.get(phrase.join(" ")) ?? []));
      return ({ kind, name, page }) => {
        const title = (kind === "chapter" || kind === "api") && titles.includes(name);
        return kinds[kind] * (title ? BookSearch.TITLE : 1) * (explain.has(page) ? BookSearch.EXPLAINS : 1);
      };
    }

    // What each word of a query stands for. A unit is a word, or several that mean something together.
    #units(query, together) {
      const parts = SearchWords.parts(query, (stem) => this.postings.has(stem));
      const [units, read, unknown] = [[], [], []];
      for (let i = 0; i < parts.length; ) {
        let unit = null;
        for (let length = together ? Math.min(4, parts.length - i) : 1; !unit && length > 1; length--) {
          unit = this.#together(parts.slice(i, i + length));
        }
        unit ??= this.#alone(parts[i], i === parts.length - 1, read, unknown);
        units.push(unit);
        i += unit.typed.length;
      }
      return { units, read, unknown, perhaps: this.#perhaps(parts, unknown) };
    }

    // Several words, if they have synonyms or were typed with hyphens, and the book has them so.
    #together(parts) {
      const typed = parts.map(({ stem }) => stem);
      const others = this.others.get(typed.join(" "));
      const { joined } = parts[0];
      const one = joined && parts.every((part) => part.joined === joined);
      if (!others && !one) return null;
      const phrases = [{ phrase: typed, weight: 1 }, ...(others ?? [])];
      if (one) phrases.push({ phrase: [joined], weight: 1 });
      return phrases.some(({ phrase }) => this.#stands(phrase).size) ? { typed, phrases } : null;
    }

    // One word and what means the same; if the book has none of it, the word a letter away.
    #alone({ stem, word }, last, read, unknown) {
      const phrases = [{ phrase: [stem], weight: 1 }, ...(this.others.get(stem) ?? [])];
      phrases.push(...this.#longer(stem, word, last));
      if (phrases.some(({ phrase }) => this.#stands(phrase).size)) return { typed: [stem], phrases };
      const [other] = this.#alike(word, 1);
      if (!other) {
        unknown.push(word);
        return { typed: [stem], phrases };
      }
      read.push([word, other]);
      const typed = [SearchWords.stem(other)];
      return { typed, phrases: [{ phrase: typed, weight: 1 }] };
    }

    // A word may be the beginning of others: while it is typed, and where the book does not have it.
    #longer(stem, word, last) {
      if (word.length < 3 || (!last && this.postings.has(stem))) return [];
      const longer = [...this.postings.keys()].filter((other) => other.startsWith(word) && other !== stem);
      return longer.map((other) => ({ phrase: [other], weight: BookSearch.SEE / 2 }));
    }

    // The words of the book that differ from one by so many letters, the most common first.
    #alike(word, letters) {
      if (word.length < 4) return [];
      const places = (other) => this.postings.get(SearchWords.stem(other)).size;
      return [...this.words]
        .filter((other) => other.length > 3 && SearchWords.near(word, other, letters))
        .sort((a, b) => places(b) - places(a));
    }

    // The query with words of the book that are two letters away, if there are any.
    #perhaps(parts, unknown) {
      const better = new Map(unknown.map((word) => [word, this.#alike(word, 2)[0]]));
      if (![...better.values()].some(Boolean)) return null;
      return parts.map(({ word }) => (better.has(word) ? better.get(word) : word)).filter(Boolean).join(" ");
    }

    // Neighbours of the query, and what means the same.
    #pairs(units) {
      const close = (unit) => unit.phrases.filter(({ weight }) => weight >= BookSearch.SAME);
      return units.slice(1).map((unit, i) => ({
        typed: [...units[i].typed, ...unit.typed],
        phrases: close(units[i]).flatMap((a) =>
          close(unit).map((b) => ({ phrase: [...a.phrase, ...b.phrase], weight: a.weight * b.weight })),
        ),
      }));
    }

    // Where words stand one after the other: Map(place -> [position * 4 + field of the first, ...]).
    #stands(phrase) {
      const each = phrase.map((stem) => this.postings.get(stem));
      if (each.length === 1) return each[0] ?? new Map();
      const found = new Map();
      if (each.some((places) => !places)) return found;
      const fewest = each.reduce((a, b) => (b.size < a.size ? b : a));
      for (const id of fewest.keys()) {
        const stands = each.map((places) => places.get(id));
        if (stands.some((where) => !where)) continue;
        const after = stands.slice(1).map((where) => new Set(where));
        const here = stands[0].filter((where) => after.every((set, i) => set.has(where + 4 * (i + 1))));
        if (here.length) found.set(id, here);
      }
      return found;
    }

    #score({ typed, phrases }, scores, has) {
      const counts = new Map();
      for (const { phrase, weight } of phrases) {
        for (const [id, stands] of this.#stands(phrase)) {
          const { lengths } = this.places[id];
          let count = counts.get(id) ?? 0;
          for (const where of stands) {
            const f = where % 4;
            const field = BookSearch.FIELDS[f];
            count += (weight * field.weight) / (1 - field.evens + (field.evens * lengths[f]) / this.mean[f]);
          }
          counts.set(id, count);
        }
      }
      const rare = Math.log(1 + (this.places.length - counts.size + 0.5) / (counts.size + 0.5));
      for (const [id, count] of counts) {
        const { stems } = this.places[id].page;
        const all = count + (typed.every((stem) => stems.has(stem)) ? BookSearch.PAGE : 0);
        scores.set(id, (scores.get(id) ?? 0) + (rare * all) / (all + BookSearch.SATURATION));
        has?.set(id, (has.get(id) ?? 0) + 1);
      }
    }
  };
})();

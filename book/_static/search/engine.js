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
    static EXPLAINS = 2.2; // the query is a term of the glossary, which names this page for it
    static FEW = 5; // so few places have all words that those with some of them are shown too

    constructor({ pages, places, same, see }) {
      this.postings = new Map(); // stem -> Map(place -> [where it stands: position * 4 + field, ...])
      this.shown = new Map(); // stem -> the shortest word that has it
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
          if (!(this.shown.get(stem)?.length <= word.length)) this.shown.set(stem, word);
        }),
      );
      // Of a name of the API, its last part.
      place.name = stemsOf(kind === "api" ? heading.split(".").pop() : heading).join(" ");
      if (leads.length) this.explains.set(place.name, leads.map((number) => this.pages[number]));
      return place;
    }

    // {found: places in order, asked: the alternatives for each word, read: words taken for others,
    //  perhaps: a query that would find something}
    search(query) {
      const { units, read, perhaps } = this.#units(query);
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
      return { found, asked, read, perhaps };
    }

    // How much a place counts beside the words in it. A name of the code is looked for in the API.
    #favour(query, units, asked) {
      const name = /^[\w.]*(?:[._]\w|[a-z][A-Z][a-z])[\w.]*(?:\(\))?$/.test(query.trim());
      const kinds = name ? { ...BookSearch.KINDS, api: 1 } : BookSearch.KINDS;
      const titles = [units.flatMap((unit) => unit.typed).join(" ")];
      if (name) titles.push(stemsOf(query.trim().split(".").pop()).join(" "));
      const explain = new Set(asked.flatMap((phrase) => this.explains.get(phrase.join(" ")) ?? []));
      return ({ kind, name, page }) => {
        const title = (kind === "chapter" || kind === "api") && titles.includes(name);
        return kinds[kind] * (title ? BookSearch.TITLE : 1) * (explain.has(page) ? BookSearch.EXPLAINS : 1);
      };
    }

    // What each word of a query stands for. A unit is a word, or several that have synonyms only together.
    #units(query) {
      const parts = SearchWords.parts(query);
      const [units, read, unknown] = [[], [], []];
      for (let i = 0; i < parts.length; ) {
        let length = Math.min(4, parts.length - i);
        const typed = () => parts.slice(i, i + length).map(({ stem }) => stem);
        while (length > 1 && !this.others.has(typed().join(" "))) length -= 1;
        const others = this.others.get(typed().join(" ")) ?? [];
        const unit = { typed: typed(), phrases: [{ phrase: typed(), weight: 1 }] };
        unit.phrases.push(...others);
        i += length;
        if (length === 1) {
          this.#lengthen(unit, parts[i - 1].word, i === parts.length);
          if (!unit.phrases.some(({ phrase }) => this.#stands(phrase).size)) {
            const [word] = this.#alike(parts[i - 1].word, 1);
            if (word) {
              read.push([parts[i - 1].word, word]);
              unit.typed = [SearchWords.stem(word)];
              unit.phrases = [{ phrase: unit.typed, weight: 1 }];
            } else unknown.push(parts[i - 1].word);
          }
        }
        units.push(unit);
      }
      return { units, read, perhaps: this.#perhaps(parts, unknown) };
    }

    // A word may be the beginning of others: while it is typed, and where the book does not have it.
    #lengthen(unit, word, last) {
      if (word.length < 3 || (!last && this.postings.has(unit.typed[0]))) return;
      for (const stem of this.postings.keys()) {
        if (stem.startsWith(word) && stem !== unit.typed[0]) {
          unit.phrases.push({ phrase: [stem], weight: BookSearch.SEE / 2 });
        }
      }
    }

    // The words of the book that differ from one by so many letters, the most common first.
    #alike(word, letters) {
      if (word.length < 4) return [];
      const places = (shown) => this.postings.get(SearchWords.stem(shown)).size;
      return [...this.shown.values()]
        .filter((shown) => shown.length > 3 && SearchWords.near(word, shown, letters))
        .sort((a, b) => places(b) - places(a));
    }

    #perhaps(parts, unknown) {
      if (!unknown.length) return null;
      const better = new Map(unknown.map((word) => [word, this.#alike(word, 2)[0]]));
      const words = parts.map(({ word }) => (better.has(word) ? better.get(word) : word)).filter(Boolean);
      return words.length ? words.join(" ") : null;
    }

    // Neighbours of the query, as it was typed.
    #pairs(units) {
      return units.slice(1).map((unit, i) => {
        const typed = [...units[i].typed, ...unit.typed];
        return { typed, phrases: [{ phrase: typed, weight: 1 }] };
      });
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

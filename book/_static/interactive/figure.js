// What all interactive figures share: controls, pictures, numbers as text, and when to draw again.
//
// A figure is a function of one argument, kept under its name: `Figures.neuron = (stage) => {...}`.
// It makes its controls and pictures once and sets `stage.draw`, which is called after each change.
"use strict";

(() => {
  const { add, format } = Figures.tools;
  const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");

  class Stage {
    constructor(box) {
      Object.assign(this, Figures.tools, { box });
      this.name = box.dataset.figure;
      this.controls = add(box, "div", { class: "controls" });
      this.pictures = add(box, "div", { class: "pictures" });
      this.numbers = add(box, "p", { class: "numbers", "aria-live": "polite" });
      this.draw = () => {};
    }

    redraw() {
      this.draw();
    }

    // At most so many controls in a line (3 instead of 4).
    columns(count) {
      this.controls.style.setProperty("--least", `${36 / count}rem`);
    }

    // How many lines the numbers take at most, on a wide page and on a phone: room is kept for them.
    room(wide, narrow) {
      this.numbers.style.setProperty("--wide", wide);
      this.numbers.style.setProperty("--narrow", narrow);
    }

    // The numbers of the figure as a sentence, seen and read aloud.
    say(text) {
      this.numbers.textContent = text;
    }

    control(key, label) {
      const id = `${this.name}-${key}`;
      const box = add(this.controls, "div", { class: "control" });
      add(box, "label", { for: id, text: label });
      return { box, id };
    }

    // A slider; its `.value` is a number, which may also be set.
    range({ key, label, min, max, step, value, show = (v) => format(v, 1) }) {
      const { box, id } = this.control(key, label);
      const output = add(box, "output", { for: id });
      const input = add(box, "input", { type: "range", id, min, max, step, value });
      const tell = () => {
        output.textContent = show(Number(input.value));
        input.setAttribute("aria-valuetext", output.textContent);
      };
      tell();
      input.addEventListener("input", () => {
        tell();
        this.redraw();
      });
      return {
        input,
        get value() {
          return Number(input.value);
        },
        set value(next) {
          input.value = next;
          tell();
        },
      };
    }

    // A list to choose from; `options` maps values to what is shown.
    select({ key, label, options, value }) {
      const { box, id } = this.control(key, label);
      const input = add(box, "select", { id });
      for (const [option, text] of Object.entries(options)) add(input, "option", { value: option, text });
      input.value = value;
      input.addEventListener("input", () => this.redraw());
      return input;
    }

    // A button in the row of buttons, which stands after the other controls.
    button(label, action) {
      this.buttons ??= add(this.controls, "div", { class: "buttons" });
      const button = add(this.buttons, "button", { type: "button", text: label });
      button.addEventListener("click", () => {
        action();
        this.redraw();
      });
      return button;
    }

    // One of some possibilities, each a button that stays pressed. It takes a whole line.
    choice({ key, label, options, value, changed = () => {} }) {
      const id = `${this.name}-${key}`;
      const box = add(this.controls, "div", { class: "choice", role: "group", "aria-labelledby": id });
      add(box, "span", { id, text: label });
      const choice = { value };
      const buttons = Object.entries(options).map(([option, text]) => {
        const button = add(box, "button", { type: "button", "data-value": option, text });
        button.addEventListener("click", () => {
          choice.value = option;
          tell();
          changed();
          this.redraw();
        });
        return button;
      });
      const tell = () => buttons.forEach((b) => b.setAttribute("aria-pressed", b.dataset.value === choice.value));
      tell();
      return choice;
    }

    // "Step", "Play" and "Start again" for what happens in steps. `advance` takes one step and
    // returns whether there are more. Nothing plays for a reader who asked for less motion; and
    // what plays is not read aloud, only where it stops.
    //
    // A figure that is `alone` on its page starts when the page opens. It has the one button, which
    // stays for who asked for less motion: nothing starts then unless it is pushed.
    player({ advance, restart, every = 400, alone = false }) {
      let timer = null;
      const show = () => {
        play.textContent = timer === null ? "Play" : "Pause";
        this.numbers.setAttribute("aria-live", timer === null ? "polite" : "off");
      };
      const stop = () => {
        clearInterval(timer);
        timer = null;
        show();
      };
      const start = () => {
        clearInterval(timer);
        timer = setInterval(tick, every);
        show();
      };
      const tick = () => {
        if (!advance()) stop();
        this.redraw();
      };
      const playing = () => timer !== null;
      const other = (label, action) => alone || this.button(label, () => {
        stop();
        action();
      });
      other("Step", advance);
      const play = this.button("Play", () => (playing() ? stop() : start()));
      other("Start again", restart);
      const respect = () => {
        if (STILL.matches) stop();
        play.hidden = STILL.matches && !alone;
      };
      STILL.addEventListener("change", respect);
      respect();
      // Starts if it may, and says whether it did.
      const begin = () => {
        if (!STILL.matches) start();
        return playing();
      };
      if (alone) begin();
      return { playing, begin };
    }

    // A drawing of width x height units, shown at most 1.25 times as large and never wider than
    // the page. With `fill` it takes the whole line: `picture.width` says how wide that is, and the
    // height may be a function of it.
    picture({ width, height, fill = false, title }) {
      const figure = add(this.pictures, "div", { class: fill ? "picture fill" : "picture" });
      if (title) add(figure, "p", { class: "title", text: title });
      const svg = add(figure, "svg", { role: "img" });
      const picture = {
        svg,
        width,
        height,
        add: (name, attributes) => add(svg, name, attributes),
        group: (attributes) => add(svg, "g", attributes),
        // Pictures whose width changes are drawn from nothing each time.
        clear: () => svg.replaceChildren(),
        // What a reader who cannot see the drawing is told that it shows now.
        label: (text) => svg.setAttribute("aria-label", text),
      };
      if (!fill) {
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        figure.style.maxWidth = `${width * 1.25}px`;
        figure.style.flexBasis = `${0.85 * width}px`; // rather a little smaller than below each other
        return picture;
      }
      const fit = () => {
        picture.width = Math.max(280, Math.round(figure.clientWidth));
        picture.height = typeof height === "function" ? height(picture.width) : height;
        svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
        svg.style.height = `${picture.height}px`;
      };
      fit();
      new ResizeObserver(() => {
        const before = picture.width;
        fit();
        if (picture.width !== before) this.redraw();
      }).observe(figure);
      return picture;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll("[data-figure]")) {
      const stage = new Stage(box);
      Figures[stage.name](stage);
      stage.redraw();
      box.classList.add("ready");
    }
  });
})();

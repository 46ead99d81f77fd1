// The bugs that can be put into the small network: their names, what is to be seen, and their runs.
"use strict";

(() => {
  const { add, set, format, generator } = Figures.tools;
  const network = Figures.network;
  const EPOCHS = 40;
  const POINTS = 120; // for training, and as many for testing
  const BATCH = 12;
  const MOMENTUM = 0.9;

  // By the numbers and names of the bug museum. `finds` is a check that fails there,
  // `short` stands on the first page.
  const SPECIMENS = {
    none: { name: "nothing", lesson: "Nothing is broken. The dashed line in the chart will stay, to compare the others with." },
    slope: {
      number: 1,
      name: "derivative left out",
      short: "It learns all the same; only the lamp tells.",
      finds: "gradient",
      lesson: "f′(z) is missing on the way back. It learns all the same, only worse. Last layer right, all below it wrong: the lamps say where.",
    },
    bias: {
      number: 2,
      name: "one bias for all",
      finds: "gradient",
      lesson: "d.sum() where d.sum(axis=0) belongs. It learns as well as the right program; only the lamps of the biases tell.",
    },
    softmax: {
      number: 3,
      name: "softmax entry by entry",
      short: "Not the gradient of its loss: red.",
      finds: "gradient",
      lesson: "The logit of the right class is pushed up, and nothing pushes the other down. All lamps are red: look at the loss function.",
    },
    outputs: {
      number: 4,
      name: "gradient times outputs",
      finds: "gradient",
      lesson: "The gradient is twice too long. It learns, at twice the rate that you asked for. Every error is ½: the factor gives itself away.",
    },
    sum: {
      number: 5,
      name: "sum for a mean",
      finds: "start",
      lesson: "Green: it is the right gradient, of a sum. Compare the first loss with log 2, about 0.7. It is too large by the size of the batch, and so are the steps.",
    },
    zero: {
      number: 12,
      name: "start at zero",
      finds: "overfit",
      lesson: "Green: the gradient is right, and it is zero for every weight. To learn a few points by heart is a test that finds this one.",
    },
    kept: {
      number: 13,
      name: "gradients never zeroed",
      short: "Right gradients, wrong steps: green.",
      finds: "PyTorch",
      lesson: "Green: each gradient is right, but each step uses the sum of all so far. A few steps beside PyTorch find this one.",
    },
    apart: {
      number: 15,
      name: "labels shuffled apart",
      short: "Right gradients, wrong data: green.",
      finds: "overfit",
      lesson: "Green: a right gradient, for points with the labels of others. To learn a few points by heart, through the real data path, finds this one.",
    },
  };

  // Two arms of a spiral. Each turns by 4 radians between radius 0.2 and 2; noise is added.
  const DATA = (() => {
    const random = generator(11);
    const points = Array.from({ length: 2 * POINTS }, (_, i) => {
      const s = 0.1 + 0.9 * random();
      const angle = 4 * s + Math.PI * (i % 2);
      return [Math.cos(angle), Math.sin(angle)].map((v) => 2 * s * v + 0.2 * network.normal(random));
    });
    const part = (from) => ({ x: points.slice(from, from + POINTS), y: points.slice(from, from + POINTS).map((_, i) => i % 2) });
    return { training: part(0), test: part(POINTS) };
  })();
  const { training, test } = DATA;

  const right = (answer, { x, y }) => x.filter((point, i) => (answer(...point) > 0 ? 1 : 0) === y[i]).length / y.length;

  // A training, with a bug or without. It goes on only when a later epoch is asked for, and all of
  // it follows from the bug and the rate: the start and the order of the points are always the same.
  class Run {
    constructor(bug, rate) {
      Object.assign(this, { bug, rate, state: network.newState(), order: generator(3) });
      this.epochs = [this.look(network.start(generator(4), bug))];
    }

    // What the program is after an epoch; its loss is the one that it would print itself.
    at(epoch) {
      while (this.epochs.length <= epoch) {
        const theta = this.epochs.at(-1).theta.slice();
        const batches = network.batches(POINTS, BATCH, this.order, this.bug);
        network.train(theta, this.state, training.x, training.y, batches, { rate: this.rate, momentum: MOMENTUM, bug: this.bug });
        this.epochs.push(this.look(theta));
      }
      return this.epochs[epoch];
    }

    look(theta) {
      const answer = network.answer(theta);
      const loss = network.loss(theta, training.x, training.y) * (this.bug === "sum" ? BATCH : 1);
      return { theta, answer, loss, training: right(answer, training), test: right(answer, test) };
    }

    // The check on the network as it is now, with the first points.
    check(epoch) {
      const now = this.at(epoch);
      now.check ??= network.check(now.theta, training.x.slice(0, BATCH), training.y.slice(0, BATCH), this.bug);
      return now.check;
    }
  }

  const runs = {};
  const run = (bug, rate) => (runs[`${bug} ${rate}`] ??= new Run(bug, rate));

  // All arrays together: one that fails is enough, and one in doubt keeps the others from passing.
  function verdict(check) {
    const passes = check.every((c) => c.passes) ? true : check.some((c) => c.passes === false) ? false : null;
    return { passes, error: Math.max(...check.map((c) => c.error)) };
  }

  const WORDS = { true: "passes", false: "FAILS", null: "cannot tell here" };
  const number = (error) => (error < 0.001 ? error.toExponential(0).replace("-", "−") : format(error));

  // A lamp: green with a tick, red with a cross, grey with a question mark. Returns how to switch it.
  function lamp(parent, x, y, r) {
    const glass = add(parent, "circle", { cx: x, cy: y, r });
    const sign = add(parent, "path", { class: "sign", transform: `translate(${x} ${y}) scale(${r / 10})` });
    const signs = { true: "M-5 0l4 4l6 -8", false: "M-4.5 -4.5l9 9m0 -9l-9 9", null: "M-3 -2.5a3 3 0 1 1 3 3v2m0 2.5v.5" };
    const colours = { true: "green-area", false: "red-area", null: "faint-area" };
    return (passes) => {
      set(glass, { class: `lamp ${colours[passes]}` });
      set(sign, { d: signs[passes] });
    };
  }

  // The points on the plane: filled circles for class 1, empty squares for class 0.
  function dots(parent, { x, y }, part) {
    const group = add(parent, "g", {});
    part.x.forEach(([u, v], i) => {
      const [cx, cy] = [x(u).toFixed(1), y(v).toFixed(1)];
      if (part.y[i]) add(group, "circle", { cx, cy, r: 3.2, class: "blue-area" });
      else add(group, "rect", { x: cx - 2.7, y: cy - 2.7, width: 5.4, height: 5.4, class: "dot orange paper-area" });
    });
    return group;
  }

  Figures.specimens = { EPOCHS, SPECIMENS, DATA, run, verdict, words: (passes) => WORDS[passes], number, lamp, dots };
})();

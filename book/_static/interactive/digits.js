// From strokes to the 64 numbers of a digit, through a network, and back: the arithmetic of draw_digit.
"use strict";

(() => {
  const SIDE = 32; // dots of the bitmap that the data set was made of
  const BLOCK = 4; // its images count the ink in blocks of 4 x 4
  // The digits of the data set fill all 32 rows and hold 310 dots of ink. These numbers bring the
  // drawings of a mouse nearest to them: room for the middle of the pen, dots of ink, its radius.
  const [TALL, WIDE, INK, THIN, THICK, LARGEST] = [26, 22, 280, 2.2, 3.2, 6];

  // The strokes moved to the middle of the bitmap, as large as the digits of the data set.
  function centred(strokes) {
    const points = strokes.flat();
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const zoom = Math.min(TALL / (bottom - top), WIDE / (right - left), LARGEST);
    const move = (v, low, high) => (v - (low + high) / 2) * zoom + SIDE / 2;
    return strokes.map((stroke) => stroke.map(([x, y]) => [move(x, left, right), move(y, top, bottom)]));
  }

  const pieces = (stroke) => (stroke.length > 1 ? stroke.slice(1).map((b, i) => [stroke[i], b]) : [[stroke[0], stroke[0]]]);

  // How far a point is from a straight piece, squared.
  function apart([x, y], [[ax, ay], [bx, by]]) {
    const [dx, dy] = [bx - ax, by - ay];
    const along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1);
    const t = Math.max(0, Math.min(1, along));
    return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2;
  }

  // The ink of strokes, points [x, y] from 0 to 32, in 8 x 8 blocks: 64 whole numbers from 0 to 16.
  function reduce(strokes, centre = true) {
    const ink = new Array(64).fill(0);
    if (!strokes.length) return ink;
    const all = (centre ? centred(strokes) : strokes).flatMap(pieces);
    const length = all.reduce((sum, [a, b]) => sum + Math.hypot(b[0] - a[0], b[1] - a[1]), 0);
    // Short digits are drawn with a thicker pen, as in the data set, where a 1 is as black as an 8.
    const radius = Math.max(THIN, Math.min(THICK, INK / 2 / Math.max(length, 1)));
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const dot = [column + 0.5, row + 0.5];
        if (!all.some((piece) => apart(dot, piece) <= radius * radius)) continue;
        ink[Math.floor(row / BLOCK) * 8 + Math.floor(column / BLOCK)] += 1;
      }
    }
    return ink;
  }

  // The layers of the data: weights w[i][j] from unit i to unit j, and biases.
  function layers({ sizes, unit, weights }) {
    let at = 0;
    const take = (count) => weights.slice(at, (at += count)).map((v) => v / unit);
    return sizes.slice(1).map((n, k) => ({ w: Array.from({ length: sizes[k] }, () => take(n)), b: take(n) }));
  }

  // One pass forward and one back: the activations of each layer from the input to the logits, the
  // probabilities, the loss for a target, and the gradient of that loss by each of the activations.
  function pass(net, input, target) {
    const activations = [input];
    net.forEach(({ w, b }, k) => {
      const z = b.map((bias, j) => w.reduce((sum, row, i) => sum + activations[k][i] * row[j], bias));
      activations.push(k < net.length - 1 ? z.map((v) => Math.max(0, v)) : z);
    });
    const logits = activations.at(-1);
    const top = Math.max(...logits);
    const total = top + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0));
    const p = logits.map((z) => Math.exp(z - total));
    const gradients = [p.map((v, j) => v - (j === target ? 1 : 0))];
    for (let k = net.length - 1; k >= 0; k--) {
      // Through a ReLU only where it was on; the logits have none.
      const on = (j) => k === net.length - 1 || activations[k + 1][j] > 0;
      const dz = gradients[0].map((v, j) => (on(j) ? v : 0));
      gradients.unshift(net[k].w.map((row) => row.reduce((sum, v, j) => sum + v * dz[j], 0)));
    }
    return { activations, p, loss: total - logits[target], gradients };
  }

  Figures.digits = { reduce, layers, pass };
})();

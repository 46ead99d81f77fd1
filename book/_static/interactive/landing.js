// The first thing that a visitor sees: a network that learns, and a button that breaks it.
"use strict";

Figures.landing = (stage) => {
  const { set, format } = stage;
  const { SIZES, ARRAYS } = Figures.network;
  const { EPOCHS, SPECIMENS, DATA, run, verdict, words, number, lamp, dots } = Figures.specimens;
  const RATE = 0.1;
  // One after the other, at each push of the button: the lamp sees the first, and not the second.
  const BUGS = ["slope", "apart", "softmax", "kept"];
  let [bug, pushed, epoch] = ["none", 0, 0];

  const player = stage.player({
    alone: true,
    advance: () => {
      epoch = epoch < EPOCHS ? epoch + 1 : 0;
      return epoch < EPOCHS;
    },
    every: 150,
  });
  if (!player.playing()) epoch = EPOCHS; // for who asked for less motion, the result
  const breaker = stage.button("Break it", () => {
    bug = bug === "none" ? BUGS[pushed++ % BUGS.length] : "none";
    breaker.textContent = bug === "none" ? "Break it" : "Repair it";
    epoch = player.begin() ? 0 : EPOCHS;
  });
  stage.room(3, 3);

  // Left: units as circles, weights as lines; the thicker the larger, blue for positive.
  const picture = stage.picture({ width: 380, height: 232 });
  const place = (layer, unit) => [10 + layer * 42, 84 + (unit - (SIZES[layer] - 1) / 2) * 21];
  const lines = [];
  for (let layer = 1; layer < SIZES.length; layer++) {
    for (let i = 0; i < SIZES[layer - 1]; i++) {
      for (let j = 0; j < SIZES[layer]; j++) {
        const line = picture.add("path", { d: stage.path([place(layer - 1, i), place(layer, j)]) });
        lines.push({ line, index: ARRAYS[2 * (layer - 1)].from + i * SIZES[layer] + j });
      }
    }
  }
  SIZES.forEach((count, layer) => {
    for (let unit = 0; unit < count; unit++) {
      const [cx, cy] = place(layer, unit);
      picture.add("circle", { cx, cy, r: 6, class: "line paper-area" });
    }
  });
  const shine = lamp(picture.svg, 16, 200, 12);
  picture.add("text", { x: 36, y: 196, class: "small", text: "gradient check" });
  const result = picture.add("text", { x: 36, y: 212, class: "small strong" });

  // Right: the plane in the colours of the answers.
  const area = { left: 152, right: 378, top: 3, bottom: 229 };
  const axes = { area, x: stage.scale([-2.5, 2.5], [area.left, area.right]), y: stage.scale([-2.5, 2.5], [area.bottom, area.top]) };
  const inside = stage.clip(picture, area);
  const colour = Figures.plane.paint(inside, { ...axes, cells: 44 });
  dots(inside, axes, DATA.training);

  stage.draw = () => {
    const program = run(bug, RATE);
    const { theta, answer, training } = program.at(epoch);
    const { passes, error } = verdict(program.check(epoch));
    colour(answer);
    for (const { line, index } of lines) {
      const strength = Math.min(1, Math.abs(theta[index]) / 2);
      set(line, {
        class: `line ${theta[index] < 0 ? "orange" : "blue"}`,
        style: `stroke-width: ${(0.3 + 2.4 * strength).toFixed(2)}; stroke-opacity: ${(0.12 + 0.8 * strength).toFixed(2)}`,
      });
    }
    shine(passes);
    result.textContent = `${words(passes)}, ${number(error)}`;
    const share = `${format(100 * training, 0)} %`;
    const { name, short } = SPECIMENS[bug];
    const state = bug === "none" ? "Nothing is broken." : `Broken: ${name}. ${short}`;
    stage.say(`Epoch ${epoch} of ${EPOCHS}: ${share} of the points right. ${state}`);
    picture.label(
      `A network of ${SIZES.join(", ")} units in its layers and what it answers in the plane, after epoch ${epoch}: ${share} of the points of two spiral arms lie on the right side. The gradient check ${words(passes)}, error ${number(error)}.`,
    );
  };
};

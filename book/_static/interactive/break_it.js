// Break it: a network that learns in the page, the bugs of the museum, and a lamp for each gradient.
"use strict";

Figures.break_it = (stage) => {
  const { add, set, format } = stage;
  const { EPOCHS, SPECIMENS, DATA, run, verdict, words, number, lamp, dots } = Figures.specimens;

  const named = ([bug, { number: place, name }]) => [bug, place ? `${place}. ${name}` : name];
  const bug = stage.choice({
    key: "bug",
    label: "Break it",
    options: Object.fromEntries(Object.entries(SPECIMENS).map(named)),
    value: "none",
    // While it plays, the new program starts from the beginning; else it is shown where one looks.
    changed: () => player.playing() && (epoch.value = 0),
  });
  const rates = Object.fromEntries([0.01, 0.03, 0.1, 0.3, 1].map((rate) => [rate, String(rate)]));
  const rate = stage.select({ key: "rate", label: "Rate", options: rates, value: "0.1" });
  const epoch = stage.range({ key: "epoch", label: "Epoch", min: 0, max: EPOCHS, step: 1, value: 0, show: String });
  const player = stage.player({
    advance: () => (epoch.value += 1) < EPOCHS,
    restart: () => (epoch.value = 0),
    every: 150,
  });
  stage.room(2, 4);
  stage.columns(3);

  // Left: the plane in the colours of the answers.
  const plane = stage.picture({ width: 320, height: 290, title: "What it answers where" });
  const area = { left: 18, right: 302, top: 3, bottom: 287 };
  const axes = { area, x: stage.scale([-2.5, 2.5], [area.left, area.right]), y: stage.scale([-2.5, 2.5], [area.bottom, area.top]) };
  const inside = stage.clip(plane, area);
  const colour = Figures.plane.paint(inside, axes);
  dots(inside, axes, DATA.training);

  // Right: the losses so far, and those of the right program at the same rate.
  const chart = stage.picture({ width: 320, height: 290, title: "Its loss, epoch by epoch" });
  const losses = stage.axes(chart, {
    x: [0, EPOCHS], y: [0, 1.5], xTicks: [0, 10, 20, 30, 40], yTicks: [0, 0.5, 1, 1.5], xLabel: "epoch", left: 36, right: 12,
  });
  const within = stage.clip(chart, losses.area);
  const compared = add(within, "path", { class: "line faint dashed" });
  const curve = add(within, "path", { class: "line blue" });
  const now = chart.add("circle", { r: 5, class: "blue-area" });
  const above = chart.add("text", { x: losses.area.right - 4, y: losses.area.top + 14, "text-anchor": "end", class: "small", text: "above the chart ↑" });
  const legend = (y, line, text) => {
    chart.add("path", { class: line.getAttribute("class"), d: `M${losses.area.right - 132} ${y}h26` });
    chart.add("text", { x: losses.area.right - 100, y: y + 4, text });
  };
  legend(44, curve, "this program");
  legend(62, compared, "nothing broken");

  // Below: a lamp for each array of parameters.
  const lamps = stage.picture({ width: 640, height: 82, fill: true, title: "Gradient check: the gradient against differences of the loss" });

  const lesson = add(stage.box, "p", { class: "numbers lesson", "aria-live": "polite" });
  lesson.style.setProperty("--wide", 2);
  lesson.style.setProperty("--narrow", 4);

  function drawLamps(check) {
    lamps.clear();
    check.forEach(({ name, error, passes }, i) => {
      const x = ((i + 0.5) * lamps.width) / check.length;
      lamp(lamps.svg, x, 18, 13)(passes);
      const text = (y, kind, content) => lamps.add("text", { x, y, class: kind, "text-anchor": "middle", text: content });
      text(50, "strong", name);
      text(68, "small", number(error));
    });
    const told = check.map(({ name, error, passes }) => `${name} ${words(passes)}, ${number(error)}`).join("; ");
    lamps.label(`One lamp for each array of parameters. ${told}.`);
  }

  stage.draw = () => {
    const [e, eta] = [epoch.value, Number(rate.value)];
    const program = run(bug.value, eta);
    const { answer, loss, training, test } = program.at(e);
    colour(answer);

    const heights = (some) => Array.from({ length: e + 1 }, (_, t) => [losses.x(t), losses.y(Math.min(some.at(t).loss, 9))]);
    const points = heights(program);
    set(curve, { d: stage.path(points) });
    set(compared, { d: bug.value === "none" ? "" : stage.path(heights(run("none", eta))) });
    const [cx, cy] = points.at(-1);
    set(now, { cx, cy: Math.max(losses.area.top, cy) });
    set(above, { visibility: cy < losses.area.top ? "visible" : "hidden" });

    const check = program.check(e);
    drawLamps(check);
    const { passes, error } = verdict(check);
    const percent = (share) => `${format(100 * share, 0)} %`;
    stage.say(
      `Epoch ${e} of ${EPOCHS}: loss ${format(loss, 3)}, ${percent(training)} of the training points right, ${percent(test)} of the test points. Gradient check ${words(passes)}, error ${number(error)}.`,
    );
    const { name, lesson: words_ } = SPECIMENS[bug.value];
    if (lesson.textContent !== words_) lesson.textContent = words_;
    plane.label(`Two arms of a spiral, and what the network answers in the plane after epoch ${e}, ${bug.value === "none" ? "with nothing broken" : `broken: ${name}`}: ${percent(training)} of the points lie on the right side.`);
    chart.label(`The loss of the program over ${e} epochs, from ${format(program.at(0).loss, 3)} to ${format(loss, 3)}.`);
  };
};

// A run's part of the page. All its parts are made once, with their size; drawing fills them.
function makeFigure(label, isPointable) {
  const canvas = element("canvas", { className: "image", role: "img", ariaLabel: label, tabIndex: isPointable ? 0 : -1 });
  const caption = element("figcaption");
  return { canvas: isPointable ? pointable(canvas) : canvas, caption, figure: element("figure", {}, canvas, caption), label };
}

function makeChartFigure(label, caption) {
  const chart = makeChart(label);
  return { chart, figure: element("figure", {}, chart, element("figcaption", { textContent: caption })) };
}

function makeView(run) {
  const keys = "arrow keys choose a pixel", kept = run.provenance ? run.provenance.kept : [];
  const view = {
    run,
    final: makeFigure(`${run.name}: final image; ${keys}`, true),
    source: makeFigure(`${run.name}: training image that the pixel comes from`, false),
    nearest: makeFigure(`${run.name}: training image nearest to the whole sample`, false),
    noisy: makeFigure(`${run.name}: noisy image; ${keys}`, true),
    clean: makeFigure(`${run.name}: posterior mean; ${keys}`, true),
    candidate: makeFigure(`${run.name}: best candidate at this step`, false),
    said: Object.fromEntries(accountNames(run).map((name) => [name, element("dd", ROOM[name])])),
  };
  const list = element("dl", { ariaLive: "polite" },
    ...Object.entries(view.said).flatMap(([name, said]) => [element("dt", { textContent: name }), said]));
  view.source.figure.hidden = !run.training || !run.provenance;
  view.nearest.figure.hidden = !run.training;
  view.candidate.figure.hidden = !run.training || kept.length < 2;
  const charts = [];
  if (run.course.scales.some((k) => k > 0)) {
    view.scales = makeChartFigure(`${run.name}: locality scale along the steps`, "Locality scale k: side of the windows compared, in pixels (of soft ones: of as large hard ones).");
    charts.push(view.scales.figure);
  }
  if (kept.length > 1) {
    const n = run.provenance.steps[0].entropy ? "; orange, right: effective candidates n_eff, logarithmic" : "";
    view.weights = makeChartFigure(`${run.name}: weight of the best candidate and n_eff along the steps`,
      `Of the pixel. Blue, left: weight of the best candidate and its equals${n}.`);
    charts.push(view.weights.figure);
  }
  const section = (title, ...children) => element("section", {}, element("h3", { textContent: title }), ...children);
  const views = (...figures) => element("div", { className: "views" }, ...figures.map(({ figure }) => figure));
  document.getElementById("runs").append(element("article", {},
    element("h2", { textContent: run.name }),
    element("p", { textContent: notesOf(run).join(" ") }),
    section("Final image, and training images it comes from", views(view.final, view.source, view.nearest), list),
    section("The chosen step of the reverse flow", views(view.noisy, view.clean, view.candidate),
      element("div", { className: "charts" }, ...charts)),
    element("details", {}, element("summary", { textContent: "Configuration" }),
      element("div", { className: "scroll" }, table("", [], run.facts)))));
  return view;
}

// Texts that are never long need less room.
const ROOM = { Pixel: { className: "brief" }, Tile: { className: "brief" }, "Whole sample": { className: "short" } };

function notesOf(run) {
  const [shown, total] = run.steps, notes = run.title && run.title !== run.name ? [`${run.title}.`] : [];
  if (run.provenance && run.provenance.kept.length < 2) notes.push("For weights over time, save provenance and entropy at all steps.");
  if (!run.training) notes.push("Its training images are not available.");
  if (shown < total) notes.push(`${shown} of ${total} steps are shown.`);
  if (channels !== 1 && channels !== 3) notes.push(`The first of ${channels} channels is shown.`);
  if (run.training?.left_out) notes.push(`${run.training.left_out} training images that pixels come from are left out, the least used.`);
  return notes;
}

function say(view, caption) {
  view.caption.textContent = caption;
  view.canvas.ariaLabel = `${view.label}: ${caption}`;
}

// Draws a training image; gives the pen, or null where the image is not in the page.
function drawTraining(view, run, sheet, image, caption) {
  const place = run.training.places[image];
  say(view, `${named(run, image)}: ${caption}${place === undefined ? "; not in this page" : ""}`);
  if (place === undefined) {
    penOn(view.canvas).clearRect(0, 0, width, height);
    return null;
  }
  return drawCrop(view.canvas, sheet, (place % run.training.columns) * width, Math.floor(place / run.training.columns) * height);
}

function drawTrainingImages(view, frame, sources, sheet) {
  const { run } = view, wraps = run.boundary === "circular";
  const { image, distance } = run.training.nearest[state.sample];
  drawTraining(view.nearest, run, sheet, image, `nearest to the sample, distance ${distance.toPrecision(3)}`);
  if (!sources) return;
  const k = run.last_scale ? `, k\u00a0=\u00a0${run.last_scale}` : "";
  const equals = sources.last.multiplicity > 1 ? ` (one of ${sources.last.multiplicity.toLocaleString("en")})` : "";
  const pen = drawTraining(view.source, run, sheet, sources.last.image, `source of the pixel${k}${equals}`);
  if (pen) {
    markCopied(pen, sources.tiles, sources.places, sources.pixel);
    markWindow(pen, sources.last.row, sources.last.column, run.last_scale, wraps);
  }
  if (view.candidate.figure.hidden) return;
  if (sources.step) {
    const candidate = drawTraining(view.candidate, run, sheet, sources.step.image, `best candidate, weight\u00a0${short(sources.weights[sources.place])}`);
    if (candidate) markWindow(candidate, sources.step.row, sources.step.column, run.scales[frame], wraps);
  } else {
    penOn(view.candidate.canvas).clearRect(0, 0, width, height);
    say(view.candidate, "candidates of this step are not kept");
  }
}

function drawFinal(view, image, map, sources) {
  const { run } = view, pen = drawCrop(view.final.canvas, image, 0, 0);
  let caption = "final image";
  if (sources) {
    const { tiles, images, untied } = run.provenance.last[state.sample], share = Math.round(100 * (1 - untied));
    drawMap(pen, map, sources.tiles, state.mode);
    markTile(pen, sources.tiles, sources.pixel);
    caption = `${count(tiles, "tile")}, ${count(images, "training image")}${share ? `; hatched, ${share}\u00a0%: equal sources` : ""}`;
  }
  markWindow(pen, state.row, state.column, run.last_scale, run.boundary === "circular" || run.boundary === "valid");
  say(view.final, caption);
}

async function drawView(view, turn) {
  const { run } = view, frame = frameOf(run), provenance = run.provenance?.last[state.sample];
  const [image, film, sources, map, sheet] = await Promise.all([
    picture(run.finals[state.sample]), picture(run.films[state.sample]), findSources(run, frame),
    provenance ? picture(provenance.map) : null, run.training ? picture(run.training.picture) : null,
  ]);
  if (turn !== latest) return;  // the state has changed meanwhile
  const wraps = run.boundary === "circular" || run.boundary === "valid", t = `t\u00a0=\u00a0${run.times[frame]}`;
  drawFinal(view, image, map, sources);
  for (const [part, top] of [[view.noisy, 0], [view.clean, height]])
    markWindow(drawCrop(part.canvas, film, frame * width, top), state.row, state.column, run.scales[frame], wraps);
  say(view.noisy, `state x at ${t}${run.scales[frame] ? `, k\u00a0=\u00a0${run.scales[frame]}` : ""}`);
  say(view.clean, `posterior mean x0hat at ${t}`);
  for (const [name, text] of Object.entries(account(run, frame, sources))) view.said[name].textContent = text;
  if (view.scales) drawScales(view.scales.chart, run, frame);
  if (view.weights) drawWeights(view.weights.chart, run, frame, sources);
  if (sheet) drawTrainingImages(view, frame, sources, sheet);
}

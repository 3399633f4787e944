"use strict";
// What is shown follows from one state: sample, frame of the flow, pixel. Everything is drawn again when it changes.
const data = JSON.parse(document.getElementById("data").textContent);
const [channels, height, width] = data.runs[0].shape;
const SCALE = Math.max(4, Math.ceil(256 / Math.max(height, width)));  // screen pixels of an image's pixel
const MARK = "#d55e00", BLUE = "#0072b2", GREY = "#b0b0b0";
const state = { sample: 0, frame: data.runs[0].times.length - 1, row: height >> 1, column: width >> 1 };
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// Arrays and pictures are unpacked once each.
const unpacked = new Map();
function unpack(packed) {
  if (!unpacked.has(packed)) {
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const types = { Uint8Array, Uint16Array, Int32Array, Float32Array };
    unpacked.set(packed, new Response(stream).arrayBuffer().then((buffer) => new types[packed.type](buffer)));
  }
  return unpacked.get(packed);
}
const pictures = new Map();
function picture(address) {
  if (!pictures.has(address)) {
    const image = new Image();
    image.src = address;
    pictures.set(address, image.decode().then(() => image));
  }
  return pictures.get(address);
}

// The frame of a run nearest in time to the first run's.
function frameOf(run) {
  const wanted = data.runs[0].times[state.frame];
  return run.times.reduce((best, t, n) => (Math.abs(t - wanted) < Math.abs(run.times[best] - wanted) ? n : best), 0);
}

function drawCrop(canvas, image, left, top) {
  canvas.width = width * SCALE;
  canvas.height = height * SCALE;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return pen;
}

// A frame round the k x k window about a pixel, continued at the other side where windows wrap; k = 0: round the pixel.
function markWindow(pen, row, column, k, wraps) {
  const size = Math.max(k, 1), r = (size - 1) / 2;
  pen.strokeStyle = MARK;
  pen.lineWidth = 2;
  for (const i of wraps ? [-height, 0, height] : [0])
    for (const j of wraps ? [-width, 0, width] : [0])
      pen.strokeRect((column - r + j) * SCALE, (row - r + i) * SCALE, size * SCALE, size * SCALE);
  pen.fillStyle = MARK;
  const dot = SCALE / 3;
  pen.fillRect((column + 0.5) * SCALE - dot / 2, (row + 0.5) * SCALE - dot / 2, dot, dot);
}

// A run's part of the page.
function makeView(run) {
  const canvas = (label, own) => element("canvas", { className: "image", tabIndex: own ? 0 : -1, ariaLabel: label, role: "img" });
  const view = {
    run,
    noisy: canvas(`${run.name}: noisy image; arrow keys choose a pixel`, true),
    clean: canvas(`${run.name}: posterior mean; arrow keys choose a pixel`, true),
    source: canvas(`${run.name}: source training image`, false),
    noisyCaption: element("figcaption"), cleanCaption: element("figcaption"), sourceCaption: element("figcaption"),
    account: element("p", { className: "account", ariaLive: "polite" }),
    curve: element("canvas", { className: "curve", hidden: true, role: "img", ariaLabel: "weight and n_eff over time" }),
    curveCaption: element("p", { hidden: true }),
  };
  const figures = [[view.noisy, view.noisyCaption], [view.clean, view.cleanCaption], [view.source, view.sourceCaption]]
    .map(([drawn, caption]) => element("figure", {}, drawn, caption));
  if (!run.training) figures[2].hidden = true;
  const [shown, total] = run.steps, notes = [];
  if (run.provenance && run.provenance.kept.length < 2) notes.push("Weights over time: of runs that save provenance and entropy at all steps");
  if (shown < total) notes.push(`${shown} of ${total} steps are shown.`);
  if (run.training && run.training.left_out) notes.push(`${run.training.left_out} training images that pixels come from are left out, the least used.`);
  const facts = element("table", {}, element("tbody", {}, ...run.facts.map(([key, value]) =>
    element("tr", {}, element("th", { scope: "row", textContent: key }), element("td", { textContent: value })))));
  document.getElementById("runs").append(element("article", {},
    element("h2", { textContent: run.name }), element("p", { textContent: [run.title, ...notes].join(". ") }),
    element("div", { className: "views" }, ...figures), view.account, view.curve, view.curveCaption,
    element("details", {}, element("summary", { textContent: "Configuration" }), facts)));
  for (const drawn of [view.noisy, view.clean]) {
    const point = (event) => {
      const box = drawn.getBoundingClientRect();
      choose(Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width));
    };
    drawn.addEventListener("pointermove", point);
    drawn.addEventListener("pointerdown", point);
    drawn.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!move) return;
      event.preventDefault();
      choose(state.row + move[0], state.column + move[1]);
    });
  }
  return view;
}

function choose(row, column) {
  row = Math.min(height - 1, Math.max(0, row));
  column = Math.min(width - 1, Math.max(0, column));
  if (row === state.row && column === state.column) return;
  Object.assign(state, { row, column });
  draw();
}

// Source of the chosen pixel: of the final image, and of the frame's posterior where that is kept.
async function sourceAt(places, index) {
  const [image, row, column, multiplicity] = await Promise.all(
    [places.image, places.row, places.column, places.multiplicity].map(unpack));
  return { image: image[index], row: row[index], column: column[index], multiplicity: multiplicity[index] };
}

function named(run, source) {
  const place = run.training?.places[source.image];
  const kind = place !== undefined && run.training.classes.length ? ` (class ${run.training.classes[place]})` : "";
  const ties = source.multiplicity > 1 ? `, the first of ${source.multiplicity} equal ones` : "";
  return `training image ${source.image}${kind}, row ${source.row}, column ${source.column}${ties}`;
}

const short = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3));

async function findSources(run, frame) {
  if (!run.provenance) return null;
  const pixel = state.row * width + state.column;
  const last = run.provenance.last[state.sample];
  const sources = { last: await sourceAt(last, pixel), weights: [], entropies: [], apart: null };
  if (last.apart) sources.apart = (await unpack(last.apart))[pixel] / 65535 * run.span;
  const steps = run.provenance.steps[state.sample], kept = run.provenance.kept;
  const weights = await unpack(steps.weight), entropies = steps.entropy ? await unpack(steps.entropy) : null;
  sources.weights = kept.map((_, n) => weights[n * height * width + pixel] / 65535);
  if (entropies) sources.entropies = kept.map((_, n) => entropies[n * height * width + pixel] / 1000);
  const place = kept.indexOf(frame);
  if (place >= 0) {
    sources.place = place;
    sources.step = await sourceAt(steps, place * height * width + pixel);
  }
  return sources;
}

function describe(view, frame, sources) {
  const { run } = view, t = run.times[frame];
  const sentences = [`Pixel at row ${state.row}, column ${state.column}.`];
  if (!sources) sentences.push("This run keeps no provenance.");
  else {
    const apart = sources.apart === null ? "" : `, whose pixel differs by ${sources.apart.toPrecision(2)} (pixels span ${run.span})`;
    sentences.push(`Nearest to its window in the final image: ${named(run, sources.last)}${apart}.`);
    if (sources.step) {
      const n = sources.entropies.length ? `, among ${short(Math.exp(sources.entropies[sources.place]))} effective candidates` : "";
      sentences.push(`Best candidate at t = ${t}: ${named(run, sources.step)}; weight ${sources.weights[sources.place].toPrecision(3)}${sources.step.multiplicity > 1 ? " with its equals" : ""}${n}.`);
    }
  }
  view.account.textContent = sentences.join(" ");
}

async function drawSource(view, frame, sources, turn) {
  const { run } = view;
  if (!run.training || !sources) return;
  const isLast = frame === run.times.length - 1, shown = isLast || !sources.step ? sources.last : sources.step;
  const place = run.training.places[shown.image];
  view.sourceCaption.textContent = isLast || !sources.step ? "nearest to the final window" : `best candidate at t = ${run.times[frame]}`;
  if (place === undefined) {
    view.source.getContext("2d").clearRect(0, 0, view.source.width, view.source.height);
    view.sourceCaption.textContent += ` (image ${shown.image} is not in this page)`;
    return;
  }
  const sheet = await picture(run.training.picture);
  if (turn !== latest) return;
  const left = (place % run.training.columns) * width, top = Math.floor(place / run.training.columns) * height;
  const k = shown === sources.last ? run.last_scale : run.scales[frame];
  markWindow(drawCrop(view.source, sheet, left, top), shown.row, shown.column, k, run.boundary === "circular");
}

function line(pen, xs, ys, color) {
  pen.strokeStyle = pen.fillStyle = color;
  pen.lineWidth = 2;
  pen.beginPath();
  xs.forEach((x, n) => (n ? pen.lineTo(x, ys[n]) : pen.moveTo(x, ys[n])));
  pen.stroke();
  xs.forEach((x, n) => pen.fillRect(x - 2, ys[n] - 2, 4, 4));
}

// Weight of the best candidate, and n_eff on a logarithmic scale, against time.
function drawCurve(view, frame, sources) {
  const { run, curve } = view;
  curve.hidden = view.curveCaption.hidden = !sources || sources.weights.length < 2;
  if (curve.hidden) return;
  const ratio = window.devicePixelRatio || 1, w = Math.max(240, curve.clientWidth), [h, pad, right] = [190, 18, 62];
  const pen = Object.assign(curve, { width: w * ratio, height: h * ratio }).getContext("2d");
  pen.scale(ratio, ratio);
  const x = (t) => pad + (1 - t) * (w - pad - right), y = (share) => h - 22 - share * (h - 34);
  const times = run.provenance.kept.map((n) => run.times[n]);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, w, h);
  pen.font = "13px system-ui, sans-serif";
  pen.strokeStyle = GREY;
  pen.strokeRect(pad, y(1), w - pad - right, y(0) - y(1));
  pen.beginPath();
  pen.moveTo(x(run.times[frame]), y(0));
  pen.lineTo(x(run.times[frame]), y(1));
  pen.stroke();
  line(pen, times.map(x), sources.weights.map(y), BLUE);
  pen.fillText("1", pad - 12, y(1) + 8);
  pen.fillText("0", pad - 12, y(0));
  let sentences = "Blue: weight of the best candidate and its equals";
  if (sources.entropies.length) {
    const top = Math.max(1, ...sources.entropies);
    line(pen, times.map(x), sources.entropies.map((e) => y(e / top)), MARK);
    pen.fillText(short(Math.exp(top)), w - right + 5, y(1) + 8);
    pen.fillText("1", w - right + 5, y(0));
    sentences += "; orange: effective candidates n_eff, logarithmic";
  }
  pen.fillStyle = "#1a1a1a";
  pen.fillText("noise, t = 1", pad, h - 5);
  pen.textAlign = "right";
  pen.fillText("image, t = 0", w - right, h - 5);
  view.curveCaption.textContent = sentences + ".";
}

async function drawView(view, turn) {
  const { run } = view, frame = frameOf(run);
  const [film, sources] = await Promise.all([picture(run.films[state.sample]), findSources(run, frame)]);
  if (turn !== latest) return;  // the state has changed meanwhile
  const wraps = run.boundary === "circular" || run.boundary === "valid";
  for (const [canvas, top] of [[view.noisy, 0], [view.clean, height]])
    markWindow(drawCrop(canvas, film, frame * width, top), state.row, state.column, run.scales[frame], wraps);
  const k = run.scales[frame] ? `, k = ${run.scales[frame]}` : "";
  view.noisyCaption.textContent = `x at t = ${run.times[frame]}${k}`;
  view.cleanCaption.textContent = frame === run.times.length - 1 ? "final image" : "posterior mean";
  describe(view, frame, sources);
  drawCurve(view, frame, sources);
  await drawSource(view, frame, sources, turn);
}

async function drawScatters() {
  const first = data.runs[0], holder = document.getElementById("scatters"), sample = state.sample;
  const across = await unpack(first.levels[sample]);
  for (const [n, run] of data.runs.slice(1).entries()) {
    const along = await unpack(run.levels[sample]), alike = data.agreement.values[n], value = alike ? alike[sample] : null;
    if (sample !== state.sample) return;  // another one has been chosen meanwhile
    const size = 360, canvas = element("canvas", { width: size, height: size, role: "img", ariaLabel: `${run.name} against ${first.name}` });
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = GREY;
    pen.beginPath();
    pen.moveTo(0, size);
    pen.lineTo(size, 0);
    pen.stroke();
    pen.fillStyle = BLUE + "80";
    across.forEach((value, place) => pen.fillRect(value / 65535 * (size - 4), (1 - along[place] / 65535) * (size - 4), 4, 4));
    const agreement = alike === null ? ": not from the same noise and labels" : value === null ? "" : `: ${data.agreement.metric} ${value.toFixed(3)}`;
    const made = element("figure", {}, canvas, element("figcaption", { textContent: `${run.name} (up) against ${first.name} (right)${agreement}` }));
    if (holder.children[n]) holder.children[n].replaceWith(made);
    else holder.append(made);
  }
}

let latest = 0;
async function draw() {
  const turn = ++latest;
  const t = data.runs[0].times[state.frame];
  document.getElementById("when").textContent = `t = ${t}`;
  document.getElementById("step").setAttribute("aria-valuetext", `t = ${t}`);
  await Promise.all(views.map((view) => drawView(view, turn)));
  if (turn === latest) document.body.dataset.drawn = [state.sample, state.frame, state.row, state.column].join(",");
}

const views = data.runs.map(makeView);
const buttons = data.runs[0].finals.map((address, n) => {
  const label = data.runs[0].labels[n], name = `sample ${data.runs[0].samples[n]}${label ? ` (${label})` : ""}`;
  const button = element("button", { type: "button", title: name, ariaPressed: String(n === 0) }, element("img", { src: address, alt: name }));
  button.addEventListener("click", () => {
    state.sample = n;
    buttons.forEach((other, m) => (other.ariaPressed = String(m === n)));
    if (data.runs.length > 1) drawScatters();
    draw();
  });
  return button;
});
document.getElementById("samples").append(...buttons);
const slider = document.getElementById("step");
slider.max = state.frame;
slider.value = state.frame;
slider.addEventListener("input", () => {
  state.frame = Number(slider.value);
  draw();
});
if (data.runs.length > 1) {
  document.getElementById("scatter").hidden = false;
  drawScatters();
}
draw();

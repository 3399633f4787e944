"use strict";
// What is shown follows from one state: sample, frame of the flow, pixel, and how final images are shown. Everything is
// drawn again when it changes.
const data = JSON.parse(document.getElementById("data").textContent);
const [channels, height, width] = data.runs[0].shape;
const MARK = "#d55e00", BLUE = "#0072b2", GREY = "#b0b0b0";
const state = {
  sample: 0, frame: data.runs[0].times.length - 1, row: height >> 1, column: width >> 1, mode: "both",
};

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
    const types = { Uint8Array, Uint16Array, Int16Array, Int32Array, Float32Array };
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

const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const short = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3));

// A table from its heads and rows of text.
function table(caption, heads, rows) {
  const row = (name, cells) => element("tr", {}, element("th", { scope: "row", textContent: name }),
    ...cells.map((cell) => element("td", { textContent: cell })));
  const made = element("table", {}, element("tbody", {}, ...rows.map(([name, ...cells]) => row(name, cells))));
  if (heads.length)
    made.prepend(element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col", textContent: head })))));
  if (caption) made.prepend(element("caption", { textContent: caption }));
  return made;
}

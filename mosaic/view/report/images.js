// Images on canvases: drawn in units of image pixels, at the resolution of the screen, without smoothing.
function penOn(canvas) {
  const ratio = window.devicePixelRatio || 1, w = Math.max(width, Math.round(canvas.clientWidth * ratio));
  Object.assign(canvas, { width: w, height: Math.max(height, Math.round(w * height / width)) });
  const pen = canvas.getContext("2d");
  pen.setTransform(w / width, 0, 0, canvas.height / height, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.pixel = ratio * width / w;  // a pixel of the screen
  return pen;
}

function drawCrop(canvas, image, left, top) {
  const pen = penOn(canvas);
  pen.drawImage(image, left, top, width, height, 0, 0, width, height);
  return pen;
}

// Seen on dark and on bright images.
function stroke(pen, path, colour, size) {
  pen.lineJoin = "round";
  for (const [style, thick] of [["#ffffff", size + 2], [colour, size]]) {
    pen.strokeStyle = style;
    pen.lineWidth = thick * pen.pixel;
    pen.stroke(path);
  }
}

// A frame round the k x k window about a pixel, continued at the other side where windows wrap; k = 0: round the pixel.
function markWindow(pen, row, column, k, wraps) {
  const size = Math.max(k, 1), r = (size - 1) / 2, path = new Path2D();
  for (const i of wraps ? [-height, 0, height] : [0])
    for (const j of wraps ? [-width, 0, width] : [0])
      path.rect(column - r + j, row - r + i, size, size);
  stroke(pen, path, BLUE, 2);
  for (const [colour, size] of [["#ffffff", Math.max(0.4, 7 * pen.pixel)], [MARK, Math.max(0.3, 5 * pen.pixel)]]) {
    pen.fillStyle = colour;
    pen.fillRect(column + 0.5 - size / 2, row + 0.5 - size / 2, size, size);
  }
}

// The borders between pixels of different numbers; with `only`, those of the pixels that have this number.
function borders(numbers, only = null) {
  const path = new Path2D();
  const at = (i, j) => (i < 0 || j < 0 || i >= height || j >= width ? NaN : numbers[i * width + j]);
  const parted = (a, b) => (only === null ? a !== b && !(isNaN(a) || isNaN(b)) && (a >= 0 || b >= 0) : (a === only) !== (b === only));
  for (let i = 0; i <= height; i++)
    for (let j = 0; j <= width; j++) {
      if (j < width && parted(at(i - 1, j), at(i, j))) { path.moveTo(j, i); path.lineTo(j + 1, i); }
      if (i < height && parted(at(i, j - 1), at(i, j))) { path.moveTo(j, i); path.lineTo(j, i + 1); }
    }
  return path;
}

// Where the pixels come from: colours by training image, borders of tiles, hatched where the source has equals.
function drawMap(pen, map, tiles, mode) {
  if (mode === "image") return;
  const coloured = new Path2D(), tied = new Path2D(), hatching = new Path2D();
  tiles.forEach((tile, n) => {
    const i = Math.floor(n / width), j = n % width;
    (tile >= 0 ? coloured : tied).rect(j, i, 1, 1);
    if (tile >= 0) return;
    hatching.moveTo(j, i + 1);
    hatching.lineTo(j + 1, i);
  });
  pen.save();
  pen.clip(coloured);
  pen.globalAlpha = mode === "map" ? 1 : 0.4;
  pen.drawImage(map, 0, 0, width, height, 0, 0, width, height);
  pen.restore();
  pen.fillStyle = "#e4e4e4";
  if (mode === "map") pen.fill(tied);
  pen.lineWidth = Math.min(pen.pixel, 0.12);  // where pixels are small, lines must not hide them
  pen.strokeStyle = "#8a8a8a";
  pen.stroke(hatching);
  pen.strokeStyle = mode === "map" ? "#1a1a1a" : "#ffffffb0";
  pen.stroke(borders(tiles));
}

// The tile of a pixel, or the pixel alone where it has none; and where it was copied from.
function markTile(pen, tiles, pixel) {
  if (tiles[pixel] >= 0) stroke(pen, borders(tiles, tiles[pixel]), MARK, 3);
}
function markCopied(pen, tiles, places, pixel) {
  if (!(tiles[pixel] >= 0)) return;
  const copied = new Int8Array(height * width);
  tiles.forEach((tile, n) => { if (tile === tiles[pixel]) copied[places.row[n] * width + places.column[n]] = 1; });
  stroke(pen, borders(copied, 1), MARK, 3);
}

// Signed parts of a range, from blue over white to red.
function diverging(part) {
  const ends = part < 0 ? [33, 102, 172] : [178, 24, 43];
  return ends.map((end) => Math.round(247 + (end - 247) * Math.abs(part)));
}
function drawDifference(canvas, parts) {
  const pixels = new ImageData(width, height), small = element("canvas", { width, height });
  parts.forEach((part, n) => pixels.data.set([...diverging(part / 32767), 255], 4 * n));
  small.getContext("2d").putImageData(pixels, 0, 0);
  return drawCrop(canvas, small, 0, 0);
}

// A pixel is chosen by pointing at it, or with the arrow keys.
function pointable(canvas) {
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    choose(Math.floor(((event.clientY - box.top) / box.height) * height), Math.floor(((event.clientX - box.left) / box.width) * width));
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    choose(state.row + move[0], state.column + move[1]);
  });
  return canvas;
}

function choose(row, column) {
  row = Math.min(height - 1, Math.max(0, row));
  column = Math.min(width - 1, Math.max(0, column));
  if (row === state.row && column === state.column) return;
  Object.assign(state, { row, column });
  draw();
}

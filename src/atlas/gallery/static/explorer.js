// The latent explorer: a code in, an image out, at once. The run's own networks compute it in this browser; where they
// cannot, the map that was drawn when the gallery was built stands in.
"use strict";
const explorer = {
  part: document.getElementById("explorer"),
  live: false,
  held: false,
};
Object.assign(explorer, JSON.parse(explorer.part.querySelector("script[type='application/json']").textContent));
const [channels, rows, columns] = explorer.shape;
const find = (selector) => explorer.part.querySelector(selector);
const map = find("#map"), picture = find("#picture"), sprite = find("#drawn");
const limit = (value, least, most) => Math.min(most, Math.max(least, value));
const low = (i) => explorer.center[i] - explorer.reach * explorer.spread[i];
const high = (i) => explorer.center[i] + explorer.reach * explorer.spread[i];

// The state: a code, a label, the two dimensions of the map. `code` is what is shown, also where it lies beyond the map.
// A model without an encoder has a map through three draws from the prior instead: `spot` is the place on that plane, and
// `offset` what sliders have added.
explorer.code = Float32Array.from(explorer.center);
explorer.labels ??= explorer.classes.map((_, label) => label);
explorer.label = explorer.labels[0] ?? 0;
explorer.axes = explorer.order.slice(0, 2).sort((a, b) => a - b);
explorer.spot = [0, 1];
explorer.offset = new Float32Array(explorer.latent_dim);

// The code at the shares x, y of the map's cells, measured between the middles of the outermost, downwards.
function codeAt(x, y) {
  if (explorer.plane) {
    const [first, right, up] = explorer.plane;
    const code = Float32Array.from(first, (value, i) => value + x * (right[i] - value) + (1 - y) * (up[i] - value));
    const factor = Math.sqrt(explorer.latent_dim) / Math.hypot(...code);
    return code.map((value, i) => value * factor + explorer.offset[i]);
  }
  const code = explorer.code.slice(), [a, b] = explorer.axes;
  code[a] = low(a) + x * (high(a) - low(a));
  if (b !== undefined) code[b] = high(b) - y * (high(b) - low(b));
  return code;
}
if (explorer.plane) explorer.code = codeAt(...explorer.spot);

const paint = (canvas, pixels, start, left, top) => atlas.paint(canvas, pixels, explorer.shape, start, left, top);
const cells = explorer.side - 1;
function place() {
  // Where the code lies on the map: shares of its width and height.
  if (explorer.plane) return explorer.spot;
  const share = (i) => (i === undefined ? 0.5 : (explorer.code[i] - low(i)) / (high(i) - low(i)));
  return [limit(share(explorer.axes[0]), 0, 1), limit(1 - share(explorer.axes[1]), 0, 1)];
}
// The drawn map has a block for each label that is offered.
const block = (label) => (explorer.conditional ? Math.max(0, explorer.labels.indexOf(label)) : 0);
function cell(label) {
  // The cell of the drawn map that is nearest to the code, as its corner in pixels.
  const [x, y] = place();
  return [Math.round(x * cells) * columns, (block(label) * explorer.side + Math.round(y * cells)) * rows];
}
function paintDrawn(canvas, label) {
  canvas.getContext("2d").drawImage(sprite, ...cell(label), columns, rows, 0, 0, columns, rows);
}
const decode = (codes, labels) => explorer.networks.decode(codes, labels);
const encode = (images, labels) => explorer.networks.encode(images, labels);

// The page says so while it computes.
let busy = 0;
async function during(work) {
  busy++;
  explorer.part.dataset.drawing = "yes";
  try {
    return await work();
  } finally {
    busy--;
    if (!busy) delete explorer.part.dataset.drawing;
  }
}

// What is to be drawn is drawn once the image before it is there; of several wishes the last counts.
const drawLatest = atlas.latest((outdated) => during(async () => {
  if (!explorer.live) paintDrawn(picture, explorer.label);
  else {
    const pixels = await decode(explorer.code.slice(), [explorer.label]);
    paint(picture, pixels);
    if (!outdated()) await judge(pixels);
  }
  if (!outdated()) await drawStyles();
}));
function draw() {
  tell();
  showNearest();
  remember();
  return drawLatest();
}
const styles = [...explorer.part.querySelectorAll(".styles canvas")];
async function drawStyles() {
  if (!explorer.live) return styles.forEach((canvas, i) => paintDrawn(canvas, explorer.labels[i]));
  if (!styles.length) return;
  const codes = new Float32Array(styles.length * explorer.latent_dim);
  styles.forEach((_, label) => codes.set(explorer.code, label * explorer.latent_dim));
  const images = await decode(codes, styles.map((_, i) => explorer.labels[i]));
  styles.forEach((canvas, label) => paint(canvas, images, label * channels * rows * columns));
}

// The map, row by row so that the pointer is heeded meanwhile.
let version = 0;
async function drawMap() {
  const mine = ++version, side = explorer.side;
  if (!explorer.live) {
    map.getContext("2d").drawImage(sprite, 0, block(explorer.label) * side * rows, map.width, map.height, 0, 0, map.width, map.height);
    return;
  }
  const label = explorer.label, size = explorer.latent_dim;
  for (let row = 0; row < side; row++) {
    const codes = new Float32Array(side * size), labels = new Array(side).fill(label);
    for (let column = 0; column < side; column++) codes.set(codeAt(column / cells, row / cells), column * size);
    const images = await decode(codes, labels);
    await new Promise((resolve) => setTimeout(resolve));
    if (mine !== version) return;
    for (let column = 0; column < side; column++) paint(map, images, column * channels * rows * columns, column * columns, row * rows);
    await judgeRow(row, images, labels);
  }
}
let waiting;
const drawMapSoon = () => { clearTimeout(waiting); waiting = setTimeout(drawMap, 120); };

// The words and the controls follow the code.
const sliders = new Map([...explorer.part.querySelectorAll(".sliders input")].map((input) => [Number(input.dataset.dimension), input]));
function tell() {
  const [x, y] = place();
  find("#marker").style.left = `${100 * (x * cells + 0.5) / explorer.side}%`;
  find("#marker").style.top = `${100 * (y * cells + 0.5) / explorer.side}%`;
  drawPosterior(x, y);
  for (const [id, i] of [["#across", 0], ["#upwards", 1]]) if (find(id)) find(id).textContent = `z${explorer.axes[i] + 1}`;
  for (const [i, input] of sliders) {
    input.value = explorer.code[i];
    input.nextElementSibling.textContent = atlas.number(explorer.code[i]);
  }
  const shown = explorer.order.slice(0, 8).map((i) => `z${i + 1}\u00a0=\u00a0${atlas.number(explorer.code[i])}`);
  find("#words").textContent = shown.join(", ") + (explorer.latent_dim > 8 ? ", …" : "");
  const of = explorer.conditional ? `, label ${explorer.classes[explorer.label]}` : "";
  picture.setAttribute("aria-label", `Image decoded from ${find("#words").textContent}${of}`);
}
function forget() {
  // The code is no longer that of the picked test image.
  find("#original").hidden = true;
  explorer.posterior = undefined;
  find(".picks [aria-pressed=true]")?.setAttribute("aria-pressed", "false");
}
function hold(held = true) {
  explorer.held = held;
  find("#marker").classList.toggle("held", held);
}
function move(x, y) {
  forget();
  tellBeside({ point: [x, y] });
  explorer.spot = [x, y];
  explorer.code = codeAt(x, y);
  draw();
}
function follow(event) {
  const box = map.getBoundingClientRect();
  const share = (at, from, length) => limit((((at - from) / length) * explorer.side - 0.5) / cells, 0, 1);
  move(share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height));
}
// A finger drags the code and leaves it there; a mouse moves it until it clicks, and again after the next click.
map.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" ? !explorer.held : event.buttons) follow(event); });
map.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse") hold(!explorer.held);
  else map.setPointerCapture(event.pointerId);
  follow(event);
});
const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
map.addEventListener("keydown", (event) => {
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  const [x, y] = place();
  hold();
  move(limit(x + way[0] / (2 * cells), 0, 1), limit(y + way[1] / (2 * cells), 0, 1));
});
// What a slider or a button has set stays until the map is clicked, dragged or moved over after a click.
for (const [i, input] of sliders) {
  input.addEventListener("input", () => {
    forget();
    hold();
    explorer.offset[i] += Number(input.value) - explorer.code[i];
    explorer.code[i] = Number(input.value);
    draw();
    if (explorer.plane || !explorer.axes.includes(i)) drawMapSoon();
  });
}
find(".labels")?.addEventListener("change", ({ target }) => {
  explorer.label = Number(target.value);
  tellBeside({ label: explorer.label });
  caption();
  draw();
  drawMap();
});
const pickers = [...explorer.part.querySelectorAll(".axes select")];
pickers.forEach((picker, which) => {
  picker.addEventListener("change", () => {
    const other = explorer.axes[1 - which];
    if (Number(picker.value) === other) {
      explorer.axes[1 - which] = explorer.axes[which];
      pickers[1 - which].value = explorer.axes[which];
    }
    explorer.axes[which] = Number(picker.value);
    draw();
    drawMap();
  });
});
function set(code) {
  explorer.code.set(code);
  draw();
  drawMap();
}
find("#center").addEventListener("click", () => {
  forget();
  hold();
  explorer.offset.fill(0);
  explorer.spot = [0, 1];
  set(explorer.plane ? codeAt(...explorer.spot) : explorer.center);
});
find("#random").addEventListener("click", () => {
  forget();
  hold();
  const random = () => explorer.center.map((center, i) => center + explorer.spread[i] * atlas.normal());
  if (!explorer.live) return move(Math.random(), Math.random());
  if (!explorer.plane) return set(random());
  explorer.offset.fill(0);
  [explorer.plane, explorer.spot] = [[random(), random(), random()], [0, 1]];
  set(codeAt(...explorer.spot));
});

// An image, of the test set or a person's own: its code is found, and that decoded.
function caption() {
  const label = explorer.conditional ? ` with label ${explorer.classes[explorer.label]}` : "";
  const ellipse = explorer.posterior ? ". The ellipse on the map is q(z|x), a standard deviation each way" : "";
  find("#original figcaption").textContent = `${explorer.words}; beside it, its code decoded${label}${ellipse}`;
}
async function look(image, label, words, spread) {
  explorer.posterior = spread;
  if (explorer.conditional) {
    explorer.label = label;
    const input = find(`.labels input[value="${label}"]`);
    if (input) input.checked = true;
  }
  const canvas = find("#original canvas");
  find("#original").hidden = false;
  paint(canvas, image);
  canvas.setAttribute("aria-label", words);
  explorer.words = words;
  caption();
  hold();
  // The answer stands above: it must be seen.
  if (!beside.on && explorer.part.dataset.state === "live") find(".pair").scrollIntoView({ block: "nearest" });
  await during(async () => set(await encode(image, [label])));
}
function offer(images) {
  const buttons = images.map(({ label, pixels, spread }, number) => {
    const image = Float32Array.from(atlas.bytes(pixels), (value) => value / 255);
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height, button.type] = [columns, rows, "button"];
    const named = explorer.classes.length > 1 ? `, label ${explorer.classes[label]}` : "";
    button.setAttribute("aria-label", `Test image ${number + 1}${named}`);
    button.setAttribute("aria-pressed", "false");
    button.append(canvas);
    paint(canvas, image);
    button.addEventListener("click", () => {
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      tellBeside({ image: number });
      return look(image, label, `The test image${named}`, spread);
    });
    return button;
  });
  find(".picks .tests").replaceChildren(...buttons);
}

// A person's own image, from a button or dropped anywhere on the explorer.
const own = { image: null, name: "", label: find(".own select"), file: find(".own input"), said: find(".own [role=status]") };
async function bestLabel(image) {
  // Of a conditional model the code depends on the label: the one whose reconstruction is nearest is taken.
  const labels = explorer.classes.map((_, label) => label), size = image.length;
  const images = new Float32Array(labels.length * size);
  for (const label of labels) images.set(image, label * size);
  const rebuilt = await decode(await encode(images, labels), labels);
  const errors = labels.map((label) => image.reduce((sum, value, i) => sum + (value - rebuilt[label * size + i]) ** 2, 0));
  return errors.indexOf(Math.min(...errors));
}
async function lookAtOwn() {
  find(".picks [aria-pressed=true]")?.setAttribute("aria-pressed", "false");
  const asked = own.label?.value ?? "";
  const label = !explorer.conditional ? 0 : asked === "" ? await bestLabel(own.image) : Number(asked);
  await look(own.image, label, "Your image as the network sees it");
  const read = explorer.conditional ? `: ${asked === "" ? "reconstructed best" : "taken"} as ${explorer.classes[label]}` : "";
  own.said.textContent = `${own.name}${read}`;
}
async function take(file) {
  if (!explorer.networks?.encode || !file) return;
  try {
    own.image = await ownImage.read(file, explorer.shape, explorer.framing, explorer.background);
    own.name = file.name;
  } catch (error) {
    own.said.textContent = `${file.name}: ${error.message}`;
    return;
  }
  await lookAtOwn();
}
own.file?.addEventListener("change", () => during(() => take(own.file.files[0])));
own.label?.addEventListener("change", () => { if (own.image) during(lookAtOwn); });
for (const event of ["dragover", "drop"]) {
  explorer.part.addEventListener(event, (dropped) => {
    if (!own.file || !dropped.dataTransfer?.types.includes("Files")) return;
    dropped.preventDefault();
    explorer.part.classList.toggle("over", event === "dragover");
    const file = dropped.dataTransfer.files[0];
    if (event === "drop") during(() => take(file));
  });
}
explorer.part.addEventListener("dragleave", () => explorer.part.classList.remove("over"));

// The start: the drawn map at once; then, unless something is missing, the networks.
async function start() {
  const { networks, runtime } = explorer.part.dataset;
  sprite.setAttribute("aria-hidden", "true"); // The map shows it, and says so.
  await sprite.decode();
  recall();
  drawMap();
  draw();
  const state = (name, words) => {
    explorer.part.dataset.state = name;
    find("#state").textContent = words;
  };
  const drawn = `What you see is a map of ${explorer.side} by ${explorer.side} images that was drawn when this gallery was built`;
  if (!networks) return state("drawn", `${drawn}: the runtime for networks was not at hand then.`);
  if (typeof WebAssembly === "undefined") return state("drawn", `${drawn}: this browser lacks WebAssembly, which running the network needs.`);
  try {
    explorer.networks = await atlas.open(networks, runtime, explorer);
  } catch (error) {
    console.warn(error);
    return state("drawn", `${drawn}: the network could not be started in this browser.`);
  }
  explorer.live = true;
  if (explorer.networks.encode) offer(explorer.networks.images);
  // Where dimensions are many, zero is far from every code, and that of a test image is one.
  if (explorer.latent_dim > 16 && !explorer.held) hold(find(".picks .tests button")?.click() ?? false);
  for (const part of explorer.part.querySelectorAll(".live")) part.hidden = false;
  state("live", "The run's trained network computes each image in this browser.");
  draw();
  drawMap();
}
addEventListener("load", start);

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
explorer.code = Float32Array.from(explorer.center);
explorer.label = 0;
explorer.axes = explorer.order.slice(0, 2);

// Pictures. Pixels are numbers in [0, 1], channel by channel.
function paint(canvas, pixels, start = 0, left = 0, top = 0) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const size = rows * columns;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * pixels[start + (channels === 3 ? c : 0) * size + i]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, left, top);
}
const cells = explorer.side - 1;
function place() {
  // Where the code lies on the map: shares of its width and height.
  const share = (i) => (i === undefined ? 0.5 : (explorer.code[i] - low(i)) / (high(i) - low(i)));
  return [limit(share(explorer.axes[0]), 0, 1), limit(1 - share(explorer.axes[1]), 0, 1)];
}
function cell(label) {
  // The cell of the drawn map that is nearest to the code, as its corner in pixels.
  const [x, y] = place();
  return [Math.round(x * cells) * columns, (label * explorer.side + Math.round(y * cells)) * rows];
}
function paintDrawn(canvas, label) {
  canvas.getContext("2d").drawImage(sprite, ...cell(label), columns, rows, 0, 0, columns, rows);
}

// The networks, one call at a time.
let last = Promise.resolve();
function run(session, name, data, shape, labels) {
  const feeds = { [name]: new ort.Tensor("float32", data, [labels.length, ...shape]) };
  if (session.inputNames.includes("labels")) feeds.labels = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
  last = last.catch(() => {}).then(() => session.run(feeds)).then((found) => found[session.outputNames[0]].data);
  return last;
}
const decode = (codes, labels) => run(explorer.decoder, "codes", codes, [explorer.latent_dim], labels);
const encode = (images, labels) => run(explorer.encoder, "images", images, explorer.shape, labels);

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
let wanted = false, drawing = false;
async function draw() {
  tell();
  wanted = true;
  if (drawing) return;
  drawing = true;
  await during(async () => {
    try {
      while (wanted) {
        wanted = false;
        if (explorer.live) paint(picture, await decode(explorer.code.slice(), [explorer.label]));
        else paintDrawn(picture, explorer.label);
        if (!wanted) await drawStyles();
      }
    } finally {
      drawing = false;
    }
  });
}
const styles = [...explorer.part.querySelectorAll(".styles canvas")];
async function drawStyles() {
  if (!explorer.live) return styles.forEach(paintDrawn);
  if (!styles.length) return;
  const codes = new Float32Array(styles.length * explorer.latent_dim);
  styles.forEach((_, label) => codes.set(explorer.code, label * explorer.latent_dim));
  const images = await decode(codes, styles.map((_, label) => label));
  styles.forEach((canvas, label) => paint(canvas, images, label * channels * rows * columns));
}

// The map, row by row so that the pointer is heeded meanwhile.
let version = 0;
async function drawMap() {
  const mine = ++version;
  const [a, b] = explorer.axes;
  if (!explorer.live) {
    const top = explorer.label * explorer.side * rows;
    map.getContext("2d").drawImage(sprite, 0, top, map.width, map.height, 0, 0, map.width, map.height);
    return;
  }
  const side = explorer.side, base = explorer.code.slice();
  for (let row = 0; row < side; row++) {
    const codes = new Float32Array(side * explorer.latent_dim);
    for (let column = 0; column < side; column++) {
      codes.set(base, column * explorer.latent_dim);
      codes[column * explorer.latent_dim + a] = low(a) + (column / cells) * (high(a) - low(a));
      if (b !== undefined) codes[column * explorer.latent_dim + b] = high(b) - (row / cells) * (high(b) - low(b));
    }
    const images = await decode(codes, new Array(side).fill(explorer.label));
    await new Promise((resolve) => setTimeout(resolve));
    if (mine !== version) return;
    for (let column = 0; column < side; column++) paint(map, images, column * channels * rows * columns, column * columns, row * rows);
  }
}
let waiting;
const drawMapSoon = () => { clearTimeout(waiting); waiting = setTimeout(drawMap, 120); };

// The words and the controls follow the code.
const sliders = new Map([...explorer.part.querySelectorAll(".sliders input")].map((input) => [Number(input.dataset.dimension), input]));
const short = (value) => value.toFixed(2).replace("-", "−");
function tell() {
  const [x, y] = place();
  find("#marker").style.left = `${100 * (x * cells + 0.5) / explorer.side}%`;
  find("#marker").style.top = `${100 * (y * cells + 0.5) / explorer.side}%`;
  for (const [i, input] of sliders) {
    input.value = explorer.code[i];
    input.nextElementSibling.textContent = short(explorer.code[i]);
  }
  const shown = explorer.order.slice(0, 8).map((i) => `z${i + 1}\u00a0=\u00a0${short(explorer.code[i])}`);
  find("#words").textContent = shown.join(", ") + (explorer.latent_dim > 8 ? ", …" : "");
  const of = explorer.conditional ? `, label ${explorer.classes[explorer.label]}` : "";
  picture.setAttribute("aria-label", `Image decoded from ${find("#words").textContent}${of}`);
}
function forget() {
  // The code is no longer that of the picked test image.
  find("#original").hidden = true;
  find(".picks [aria-pressed=true]")?.setAttribute("aria-pressed", "false");
}
function move(x, y) {
  // To the shares x, y of the map's cells, measured between the middles of the outermost.
  const [a, b] = explorer.axes;
  forget();
  explorer.code[a] = low(a) + x * (high(a) - low(a));
  if (b !== undefined) explorer.code[b] = high(b) - y * (high(b) - low(b));
  draw();
}
function follow(event) {
  const box = map.getBoundingClientRect();
  const share = (at, from, length) => limit((((at - from) / length) * explorer.side - 0.5) / cells, 0, 1);
  move(share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height));
}
map.addEventListener("pointermove", (event) => { if (!explorer.held) follow(event); });
map.addEventListener("pointerdown", (event) => {
  // A finger moves the code while it is down; a mouse moves it until it clicks, and again after the next click.
  if (event.pointerType === "mouse") explorer.held = !explorer.held;
  find("#marker").classList.toggle("held", explorer.held);
  follow(event);
});
const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
map.addEventListener("keydown", (event) => {
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  const [x, y] = place();
  move(limit(x + way[0] / (2 * cells), 0, 1), limit(y + way[1] / (2 * cells), 0, 1));
});
for (const [i, input] of sliders) {
  input.addEventListener("input", () => {
    forget();
    explorer.code[i] = Number(input.value);
    draw();
    if (!explorer.axes.includes(i)) drawMapSoon();
  });
}
find(".labels")?.addEventListener("change", ({ target }) => {
  explorer.label = Number(target.value);
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
  set(explorer.center);
});
find("#random").addEventListener("click", () => {
  forget();
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  if (explorer.live) set(explorer.center.map((center, i) => center + explorer.spread[i] * normal()));
  else move(Math.random(), Math.random());
});

// What is binary comes as base64 of gzip; test images as base64.
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
async function unpack(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const network = async (text) => ort.InferenceSession.create(await unpack(text));
// An image, of the test set or a person's own: its code is found, and that decoded.
async function look(image, label, words) {
  if (explorer.conditional) {
    explorer.label = label;
    find(`.labels input[value="${label}"]`).checked = true;
  }
  const canvas = find("#original canvas");
  find("#original").hidden = false;
  paint(canvas, image);
  canvas.setAttribute("aria-label", words);
  find("#original figcaption").textContent = `${words}; beside it, its code decoded`;
  explorer.held = true;
  find("#marker").classList.add("held");
  await during(async () => set(await encode(image, [label])));
}
function offer(images) {
  const buttons = images.map(({ label, pixels }, number) => {
    const image = Float32Array.from(bytes(pixels), (value) => value / 255);
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    button.type = "button";
    button.setAttribute("aria-label", `Test image ${number + 1}, label ${explorer.classes[label]}`);
    button.setAttribute("aria-pressed", "false");
    button.append(canvas);
    paint(canvas, image);
    button.addEventListener("click", () => {
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      return look(image, label, `The test image, label ${explorer.classes[label]}`);
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
  if (!explorer.encoder || !file) return;
  try {
    own.image = await ownImage.read(file, explorer.shape);
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
function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    [script.src, script.onload, script.onerror] = [address, resolve, () => reject(new Error(`${address} cannot be read`))];
    document.head.append(script);
  });
}
async function start() {
  const { networks, runtime } = explorer.part.dataset;
  sprite.setAttribute("aria-hidden", "true"); // The map shows it, and says so.
  await sprite.decode();
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
    for (const address of [...runtime.split(" "), networks]) await load(address);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = (await unpack(atlasRuntime.binary)).buffer;
    const module = new Blob([await unpack(atlasRuntime.module)], { type: "text/javascript" });
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
    explorer.decoder = await network(atlasNetworks.decoder);
    if (atlasNetworks.encoder) explorer.encoder = await network(atlasNetworks.encoder);
  } catch (error) {
    console.warn(error);
    return state("drawn", `${drawn}: the network could not be started in this browser.`);
  }
  explorer.live = true;
  if (explorer.encoder) offer(atlasNetworks.images);
  atlasNetworks = atlasRuntime = undefined;
  for (const part of explorer.part.querySelectorAll(".live")) part.hidden = false;
  state("live", "The run's trained network computes each image in this browser.");
  draw();
  drawMap();
}
addEventListener("load", start);

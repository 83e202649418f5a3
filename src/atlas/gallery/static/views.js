// Views beside the latent explorer: the nearest test images, the posterior, the discriminator's opinion, another run, a
// drawing pad.
// Used by explorer.js.
"use strict";

// The ten test images, or all of fewer, whose codes are nearest, in the dimensions that the gallery holds.
const nearestImages = { thumbnails: new Image(), points: undefined };
function showNearest() {
  const part = document.querySelector("#explorer .nearest");
  if (!part) return;
  clearTimeout(nearestImages.timer);
  nearestImages.timer = setTimeout(() => {
    nearestImages.points ??= atlas.scatter(explorer);
    const { points, thumbnails } = nearestImages, dimensions = explorer.order.filter(points.has);
    const distance = (image) => dimensions.reduce((sum, i) => sum + (points.at(image, i) - explorer.code[i]) ** 2, 0);
    const list = Array.from({ length: points.count }, (_, image) => [distance(image), image]).sort((a, b) => a[0] - b[0]).slice(0, 10);
    const canvas = part.querySelector("canvas"), context = canvas.getContext("2d");
    const [high, wide, across] = explorer.part.dataset.size.split(" ").map(Number);
    if (!thumbnails.naturalWidth) return;
    canvas.width = list.length * wide;
    list.forEach(([, image], i) => context.drawImage(thumbnails, (image % across) * wide, Math.floor(image / across) * high, wide, high, i * wide, 0, wide, high));
    const names = explorer.classes.length > 1 ? list.map(([, image]) => explorer.classes[points.labels[image]]) : [];
    const words = `The ${list.length} test images with the nearest codes${names.length ? `: ${names.join(", ")}` : ""}`;
    canvas.setAttribute("aria-label", words);
    part.querySelector("figcaption").textContent = words;
  }, 80);
}
if (document.querySelector("#explorer .nearest")) {
  nearestImages.thumbnails.onload = showNearest;
  addEventListener("load", () => { nearestImages.thumbnails.src = document.getElementById("explorer").dataset.thumbnails; });
}

// The ellipse of the picked image's q(z|x): a standard deviation each way.
function drawPosterior(x, y) {
  const spread = (i) => (i === undefined ? 0 : explorer.posterior?.[explorer.order.indexOf(i)]), ellipse = document.getElementById("posterior");
  const sizes = explorer.axes.map(spread);
  ellipse.hidden = !sizes.every((size) => size !== undefined);
  if (ellipse.hidden) return;
  const share = (i) => (i === undefined ? 0 : (200 * spread(i) * cells) / (high(i) - low(i)) / explorer.side);
  const [left, top] = [x, y].map((at) => `${100 * (at * cells + 0.5) / explorer.side}%`);
  Object.assign(ellipse.style, { left, top, width: `${share(explorer.axes[0])}%`, height: `${share(explorer.axes[1])}%` });
}

// What the discriminator says: the probability that the image is real, of the one that is shown and all over the map.
const opinion = { part: document.querySelector("#explorer .opinion"), heat: document.getElementById("heat") };
const probability = (logit) => 1 / (1 + Math.exp(-logit));
const percent = (value) => `${(100 * value).toFixed(0)}\u00a0%`;
async function judge(pixels) {
  if (!opinion.part?.querySelector("input").checked) return;
  const { discriminate, images } = explorer.networks;
  if (opinion.real === undefined) {
    const size = pixels.length, all = new Float32Array(images.length * size);
    images.forEach((each, i) => all.set(Float32Array.from(atlas.bytes(each.pixels), (value) => value / 255), i * size));
    const { logits } = await discriminate(all, images.map(({ label }) => label));
    opinion.real = logits.reduce((sum, logit) => sum + probability(logit), 0) / images.length;
  }
  const { logits } = await discriminate(Float32Array.from(pixels), [explorer.label]);
  opinion.part.querySelector("output").textContent = `It takes this image for real with a probability of ${percent(probability(logits[0]))}; real test images with ${percent(opinion.real)} on average.`;
}
async function judgeRow(row, images, labels) {
  if (!opinion.part?.querySelector("input").checked) return;
  const { logits } = await explorer.networks.discriminate(Float32Array.from(images), labels);
  const context = opinion.heat.getContext("2d");
  logits.forEach((logit, column) => {
    const share = probability(logit);
    context.clearRect(column, row, 1, 1);
    context.fillStyle = share > 0.5 ? `rgb(40 130 255 / ${share - 0.35})` : `rgb(255 110 30 / ${0.65 - share})`;
    context.fillRect(column, row, 1, 1);
  });
}
opinion.part?.querySelector("input").addEventListener("change", ({ target }) => {
  opinion.heat.hidden = !target.checked;
  if (!target.checked) opinion.part.querySelector("output").textContent = "";
  draw();
  drawMap();
});

// The state in the address: label and code that are held.
const state = { most: 128, pattern: /^#code=(\d+);([-\d.,]+)$/ };
function remember() {
  clearTimeout(state.timer);
  if (!explorer.held || explorer.latent_dim > state.most) return;
  const numbers = Array.from(explorer.code, (value) => Number(value.toFixed(3)));
  state.timer = setTimeout(() => history.replaceState(null, "", `#code=${explorer.label};${numbers}`), 300);
}
function recall() {
  const [, label, numbers] = state.pattern.exec(location.hash) ?? [], code = numbers?.split(",").map(Number);
  if (code?.length !== explorer.latent_dim || code.some(Number.isNaN)) return;
  explorer.label = Math.min(Number(label), Math.max(0, explorer.classes.length - 1));
  const input = document.querySelector(`#explorer .labels input[value="${explorer.label}"]`);
  if (input) input.checked = true;
  if (explorer.plane) explorer.offset.set(code.map((value, i) => value - explorer.code[i]));
  explorer.code.set(code);
  hold();
}

// Beside another run, in a frame of compare.html: what is done here is told, what is done there is done here.
const beside = { on: location.search === "?beside" && parent !== window, deaf: false };
function tellBeside(what) {
  if (beside.on && !beside.deaf) parent.postMessage({ atlas: what }, "*");
}
if (beside.on) {
  document.documentElement.classList.add("beside");
  new ResizeObserver(() => parent.postMessage({ atlas: { height: Math.ceil(document.body.scrollHeight) } }, "*")).observe(document.body);
  addEventListener("message", ({ data, source }) => {
    if (source !== parent || !data?.atlas) return;
    const { point, label, image, time } = data.atlas;
    beside.deaf = true;
    if (point) move(...point);
    if (label !== undefined) document.querySelector(`#explorer .labels input[value="${label}"]`)?.click();
    if (image !== undefined) document.querySelectorAll("#explorer .tests button")[image]?.click();
    if (time !== undefined) globalThis.goToTime?.(time);
    beside.deaf = false;
  });
}

// A drawing pad: what is drawn is read as an image file is.
const pad = document.getElementById("pad");
if (pad) {
  const context = pad.getContext("2d"), clear = () => { context.fillStyle = "#fff"; context.fillRect(0, 0, pad.width, pad.height); };
  const at = ({ clientX, clientY }) => {
    const box = pad.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * pad.width, ((clientY - box.top) / box.height) * pad.height];
  };
  let last = null;
  clear();
  Object.assign(context, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = at(event);
    stroke(event);
  });
  function stroke(event) {
    if (!last) return;
    const next = at(event);
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
  }
  pad.addEventListener("pointermove", stroke);
  pad.addEventListener("pointerup", () => {
    last = null;
    pad.toBlob((blob) => during(() => take(Object.assign(blob, { name: "your drawing" }))));
  });
  document.getElementById("wipe").addEventListener("click", clear);
}

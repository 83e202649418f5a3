// A plane of codes: the test images' codes as marks, one shape and color a class, the circles of N(0, I), and a place
// that pointer, finger and arrow keys move.
"use strict";
class Plane {
  // `part` holds a canvas. Options: classes, move(x, y) after a move, over(plane, context) draws above the marks.
  constructor(part, options) {
    Object.assign(this, { part, canvas: part.querySelector("canvas"), options, place: [0, 0], held: false, hidden: new Set(), points: null, prior: true, ring: true });
    this.range = [[-4, 4], [-4, 4]];
    this.names = ["z1", "z2"];
    const short = options.classes.every((name) => [...name].length === 1) && options.classes.length > 1;
    this.shapes = short ? options.classes : options.classes.map((_, i) => "●▲■◆✚★▼◖✖⬟"[i % 10]);
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.pointer(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
  // Show codes: points {count, labels, at(image, axis)} or null; range [[left, right], [bottom, top]].
  show(points, range, prior, axes = [0, 1]) {
    Object.assign(this, { points, range, prior, axes, names: axes.map((axis) => `z${axis + 1}`) });
    this.draw();
  }
  get margin() { return 26; }
  x(value) { return this.margin + ((value - this.range[0][0]) / (this.range[0][1] - this.range[0][0])) * (this.width - this.margin - 4); }
  y(value) { return this.height - this.margin - ((value - this.range[1][0]) / (this.range[1][1] - this.range[1][0])) * (this.height - this.margin - 4); }
  codeAt(x, y) {
    const [[left, right], [bottom, top]] = this.range, across = this.width - this.margin - 4, down = this.height - this.margin - 4;
    const limit = (value, least, most) => Math.min(most, Math.max(least, value));
    return [
      limit(left + ((x - this.margin) / across) * (right - left), left, right),
      limit(bottom + ((this.height - this.margin - y) / down) * (top - bottom), bottom, top),
    ];
  }
  draw() {
    this.waiting ??= requestAnimationFrame(() => { this.waiting = undefined; this.paint(); });
  }
  paint() {
    const { canvas } = this, scale = devicePixelRatio || 1, style = getComputedStyle(this.part);
    [this.width, this.height] = [canvas.clientWidth, canvas.clientHeight];
    if (!this.width) return;
    [canvas.width, canvas.height] = [Math.round(this.width * scale), Math.round(this.height * scale)];
    const context = canvas.getContext("2d"), color = (name) => style.getPropertyValue(name).trim();
    context.scale(scale, scale);
    this.frame(context, color);
    this.marks(context, color);
    this.options.over?.(this, context, color);
    if (!this.ring) return;
    const [x, y] = [this.x(this.place[0]), this.y(this.place[1])];
    for (const [width, name] of [[5, "--page"], [2, "--ink"]]) {
      context.strokeStyle = color(name);
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 7);
      context.stroke();
    }
    if (this.held) {
      context.fillStyle = color("--ink");
      context.beginPath();
      context.arc(x, y, 3, 0, 7);
      context.fill();
    }
  }
  frame(context, color) {
    const { margin } = this, [[left, right], [bottom, top]] = this.range;
    context.fillStyle = color("--tint");
    context.fillRect(margin, 4, this.width - margin - 4, this.height - margin - 4);
    Object.assign(context, { font: `11px ${color("--sans")}`, fillStyle: color("--quiet"), strokeStyle: color("--line"), lineWidth: 1, textAlign: "center" });
    const span = right - left, step = [0.5, 1, 2, 5, 10, 20, 50].find((size) => span / size < 9) ?? span / 8;
    for (let value = Math.ceil(left / step) * step; value <= right; value += step) {
      context.fillText(atlas.number(value, step < 1 ? 1 : 0), this.x(value), this.height - margin + 14);
      if (!value) this.line(context, this.x(0), 4, this.x(0), this.height - margin);
    }
    context.textAlign = "right";
    for (let value = Math.ceil(bottom / step) * step; value <= top; value += step) {
      context.fillText(atlas.number(value, step < 1 ? 1 : 0), margin - 5, this.y(value) + 4);
      if (!value) this.line(context, margin, this.y(0), this.width - 4, this.y(0));
    }
    Object.assign(context, { fillStyle: color("--ink"), font: `600 12px ${color("--sans")}` });
    context.fillText(`${this.names[0]} →`, this.width - 8, this.height - margin - 6);
    context.textAlign = "left";
    if (this.names[1]) context.fillText(`↑ ${this.names[1]}`, margin + 6, 18);
    if (!this.prior) return;
    // Of N(0, I) in two dimensions these hold 39, 86 and 99 of 100 codes.
    context.save();
    context.beginPath();
    context.rect(margin, 4, this.width - margin - 4, this.height - margin - 4);
    context.clip();
    context.strokeStyle = color("--quiet");
    context.setLineDash([3, 4]);
    for (const radius of [1, 2, 3]) {
      context.beginPath();
      context.ellipse(this.x(0), this.y(0), this.x(radius) - this.x(0), this.y(0) - this.y(radius), 0, 0, 7);
      context.stroke();
    }
    context.restore();
  }
  line(context, ...ends) {
    context.beginPath();
    context.moveTo(ends[0], ends[1]);
    context.lineTo(ends[2], ends[3]);
    context.stroke();
  }
  marks(context, color) {
    if (!this.points) return;
    const { count, labels, at } = this.points, { classes } = this.options, size = this.points.count > 600 ? 10 : 12;
    Object.assign(context, { font: `600 ${size}px ${color("--sans")}`, textAlign: "center", textBaseline: "middle", globalAlpha: 0.85 });
    for (let i = 0; i < count; i++) {
      const label = labels[i], x = this.x(at(i, this.axes[0])), y = this.y(this.axes[1] === undefined ? 0 : at(i, this.axes[1]));
      if (this.hidden.has(label) || x < this.margin + 4 || y > this.height - this.margin - 4 || x > this.width - 8 || y < 8) continue;
      context.fillStyle = classes.length > 1 ? Plane.color(label, color) : color("--accent");
      context.fillText(this.shapes[label] ?? "●", x, y);
    }
    Object.assign(context, { globalAlpha: 1, textBaseline: "alphabetic" });
  }
  // Two ranges of the same length, so that a circle is one.
  static square(ranges) {
    const half = Math.max(...ranges.map(([low, high]) => high - low)) * 0.52;
    return ranges.map(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
  }
  static color(label, color) { return label < 10 ? color(`--k${label}`) : `hsl(${(label * 137.5) % 360} 55% 50%)`; }
  // The test images nearest to a code, the nearest first: [{image, distance in pixels}].
  nearest([x, y], wanted = 1) {
    if (!this.points) return [];
    const list = [];
    for (let i = 0; i < this.points.count; i++) {
      if (this.hidden.has(this.points.labels[i])) continue;
      const distance = Math.hypot(this.x(this.points.at(i, this.axes[0])) - this.x(x), this.axes[1] === undefined ? 0 : this.y(this.points.at(i, this.axes[1])) - this.y(y));
      list.push({ image: i, distance });
    }
    return list.sort((a, b) => a.distance - b.distance).slice(0, wanted);
  }
  set(place, how = "set") {
    this.place = place;
    this.draw();
    this.options.move?.(place, how);
  }
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.codeAt(event.clientX - box.left, event.clientY - box.top);
  }
  press(event) {
    // A click of the mouse holds the place, the next one lets go; a finger drags, and what it leaves stays.
    if (event.pointerType === "mouse") this.held = !this.held;
    else this.canvas.setPointerCapture(event.pointerId);
    this.set(this.at(event), "press");
  }
  pointer(event) {
    if (event.pointerType === "mouse" ? this.held : !event.buttons) return;
    this.set(this.at(event), "pointer");
  }
  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    this.held = true;
    const size = (event.shiftKey ? 5 : 1) * (this.range[0][1] - this.range[0][0]) / 60;
    this.set(this.place.map((value, i) => Math.min(this.range[i][1], Math.max(this.range[i][0], value + step[i] * size))), "key");
  }
}

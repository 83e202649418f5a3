// Front page: a live latent space. A switch of models keeps the point, or the test image that was picked.
"use strict";
(() => {
  const part = document.getElementById("latent");
  if (!part) return;
  const spaces = JSON.parse(part.querySelector("script[type='application/json']").textContent);
  const find = (selector) => part.querySelector(selector), [decoded, nearest, beside] = ["#decoded", "#nearest", ".beside"].map(find);
  const { shape, classes } = spaces[0].about, [, rows, columns] = shape;
  const offered = spaces[0].about.labels ?? classes.map((_, i) => i);
  const labels = find(".labels"), [thumbRows, thumbColumns, across] = (part.dataset.size ?? "1 1 1").split(" ").map(Number);
  let space = spaces[0], label = 0, image = null, networks = null;
  for (const each of spaces) each.points = atlas.scatter(each.about);

  const thumbnails = new Image();
  const thumbnail = (canvas, index) => {
    if (!thumbnails.complete || !thumbnails.naturalWidth) return;
    canvas.getContext("2d").drawImage(thumbnails, (index % across) * thumbColumns, Math.floor(index / across) * thumbRows, thumbColumns, thumbRows, 0, 0, columns, rows);
  };

  const plane = new Plane(find(".codes"), { classes, move: (place, how) => moved(how) });
  // Until the network runs, the map that was drawn beforehand stands in.
  const drawnMap = (each) => {
    if (!each.image) {
      each.image = new Image();
      each.image.onload = () => draw();
      each.image.src = each.drawn.split("/").map(encodeURIComponent).join("/");
    }
    return each.image;
  };
  const standIn = () => {
    const { center, spread, reach, side, conditional } = space.about, sprite = drawnMap(space), cells = side - 1;
    if (!sprite.complete || !sprite.naturalWidth) return;
    const share = (axis) => Math.min(1, Math.max(0, ((plane.place[axis] - center[axis]) / (spread[axis] * reach) + 1) / 2));
    const [column, row] = [Math.round(share(0) * cells), Math.round((1 - share(1)) * cells) + (conditional ? Math.max(0, offered.indexOf(label)) * side : 0)];
    for (const canvas of [decoded, beside]) canvas.getContext("2d").drawImage(sprite, column * columns, row * rows, columns, rows, 0, 0, columns, rows);
  };
  const draw = atlas.latest(async () => {
    if (!networks) return standIn();
    const pixels = await networks.decode(Float32Array.from(plane.place), [label]);
    for (const canvas of [decoded, beside]) atlas.paint(canvas, pixels, shape);
  });

  // The same point, or the code of the same image, in every model.
  const compare = find(".compare");
  const drawAll = atlas.latest(async (outdated) => {
    for (const canvas of compare.querySelectorAll("canvas")) {
      const each = spaces.find(({ key }) => key === canvas.dataset.space);
      each.ready ??= await atlas.open(each.networks, part.dataset.runtime, each.about);
      const code = image === null ? plane.place : [0, 1].map((axis) => each.points.at(image, axis));
      atlas.paint(canvas, await each.ready.decode(Float32Array.from(code), [label]), shape);
      if (outdated()) return;
    }
  });
  const drawCompared = () => { if (compare?.open && part.dataset.runtime && !wake.failed) drawAll().catch(console.warn); };
  compare?.addEventListener("toggle", drawCompared);

  function tell() {
    const [x, y] = plane.place.map((value) => atlas.number(value));
    find("#code").textContent = `(${x}, ${y})`;
    const [closest] = image === null ? plane.nearest(plane.place) : [{ image }];
    if (closest) {
      const name = classes[space.points.labels[closest.image]];
      thumbnail(nearest, closest.image);
      find("#whose").textContent = classes.length > 1 ? `: ${name}` : "";
      nearest.setAttribute("aria-label", `Nearest test image${classes.length > 1 ? `, label ${name}` : ""}`);
    }
    decoded.setAttribute("aria-label", `Image decoded from the code ${x}, ${y}${space.about.conditional ? `, label ${classes[label]}` : ""}`);
    // The small image stands beside the place, where there is room.
    const [left, top] = [plane.x(plane.place[0]), plane.y(plane.place[1])], size = beside.offsetWidth || 72;
    beside.style.left = `${left + 18 + size > plane.width ? left - 18 - size : left + 18}px`;
    beside.style.top = `${top - 18 - size < 0 ? top + 18 : top - 18 - size}px`;
  }
  function setLabel(value) {
    label = value;
    const input = labels?.querySelector(`input[value="${value}"]`);
    if (input) input.checked = true;
  }
  function moved(how) {
    if (how !== "set") {
      image = null;
      wake();
      // A press on a mark takes its image: its code, and its label.
      const [closest] = plane.nearest(plane.place);
      if (how === "press" && closest && closest.distance < 8) take(closest.image);
    }
    update();
  }
  function take(index) {
    image = index;
    plane.place = [0, 1].map((axis) => space.points.at(index, axis));
    setLabel(space.points.labels[index]);
  }
  function update() {
    plane.draw();
    tell();
    draw();
    drawCompared();
    clearTimeout(update.timer);
    update.timer = setTimeout(() => {
      if (plane.held) history.replaceState(null, "", `#map=${[encodeURIComponent(space.key), ...plane.place.map((value) => value.toFixed(2)), label].join(",")}`);
    }, 300);
  }
  function show(key) {
    space = spaces.find((each) => each.key === key) ?? spaces[0];
    networks = space.ready ?? null;
    const { points } = space;
    // As far as the codes reach, and no less than the prior.
    const ends = (axis) => Array.from({ length: points.count }, (_, i) => points.at(i, axis)).sort((a, b) => a - b);
    space.range ??= Plane.square([0, 1].map((axis) => {
      const codes = ends(axis), cut = Math.floor(codes.length / 400);
      return [Math.min(-3.3, codes[cut]), Math.max(3.3, codes[codes.length - 1 - cut])];
    }));
    if (image !== null) take(image);
    plane.place = plane.place.map((value, i) => Math.min(space.range[i][1], Math.max(space.range[i][0], value)));
    plane.show(points, space.range, true);
    if (labels) labels.hidden = !space.about.conditional;
    for (const words of part.querySelectorAll("[data-for]")) words.hidden = words.dataset.for !== space.key;
    if (wake.begun) wake();
    update();
  }
  // The networks are read once a reader moves: 5 MB that the first view does without.
  async function wake() {
    wake.begun = true;
    if (space.ready || !part.dataset.runtime || wake.failed) return;
    const mine = space;
    try {
      mine.ready = await atlas.open(mine.networks, part.dataset.runtime, mine.about);
    } catch (error) {
      console.warn(error);
      wake.failed = true;
      find("#latent-state").textContent = "The image is the nearest of a map that was drawn beforehand: the network could not be started in this browser.";
      return;
    }
    if (mine === space) {
      networks = mine.ready;
      part.dataset.state = "live";
      draw();
    }
  }

  find(".models").addEventListener("change", ({ target }) => show(target.value));
  labels?.addEventListener("change", ({ target }) => { setLabel(Number(target.value)); plane.held = true; wake(); update(); });
  find(".classes")?.addEventListener("change", ({ target }) => {
    plane.hidden[target.checked ? "delete" : "add"](Number(target.value));
    update();
  });
  plane.canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [closest] = plane.nearest(plane.place);
    if (closest) take(closest.image);
    update();
  });
  addEventListener("load", () => {
    thumbnails.onload = tell;
    if (part.dataset.thumbnails) thumbnails.src = part.dataset.thumbnails;
    const state = /^#map=([^,]+),([-\d.]+),([-\d.]+),(\d+)$/.exec(location.hash);
    plane.width = plane.canvas.clientWidth;
    plane.height = plane.canvas.clientHeight;
    if (state) {
      const key = decodeURIComponent(state[1]), input = [...part.querySelectorAll(".models input")].find((each) => each.value === key);
      if (input) input.checked = true;
      Object.assign(plane, { place: [Number(state[2]), Number(state[3])], held: true });
      setLabel(Math.min(Number(state[4]), classes.length - 1));
      show(key);
    } else {
      plane.place = [0.6, -0.8];
      show(find(".models input:checked").value);
    }
  });
})();

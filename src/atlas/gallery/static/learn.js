// The lesson: six scenes, one control each. Networks start when their scene comes near.
"use strict";
(() => {
  const part = document.getElementById("learn"), byId = (id) => document.getElementById(id);
  const spaces = JSON.parse(part.querySelector("script[type='application/json']").textContent);
  const { shape, classes } = spaces.vae.about, [channels, rows, columns] = shape, size = channels * rows * columns;
  const [thumbRows, thumbColumns, across] = part.dataset.size.split(" ").map(Number);
  const points = {}, ranges = {}, thumbnails = new Image();
  for (const [name, space] of Object.entries(spaces)) {
    points[name] = atlas.scatter(space.about);
    const { center, spread, latent_dim } = space.about;
    if (latent_dim === 2) ranges[name] = Plane.square([0, 1].map((i) => [Math.min(-3.2, center[i] - 3 * spread[i]), Math.max(3.2, center[i] + 3 * spread[i])]));
  }
  const open = (name) => atlas.open(spaces[name].networks, part.dataset.runtime, spaces[name].about);
  const plane = (scene, name, options = {}) => {
    const made = new Plane(scene.querySelector(`[data-plane=${name}]`), { classes, ...options });
    made.show(points[name], ranges[name], true);
    return made;
  };
  const thumbnail = (canvas, index) => {
    if (thumbnails.naturalWidth) canvas.getContext("2d").drawImage(thumbnails, (index % across) * thumbColumns, Math.floor(index / across) * thumbRows, thumbColumns, thumbRows, 0, 0, columns, rows);
  };
  const paint = (id, pixels, start = 0, left = 0, top = 0) => atlas.paint(typeof id === "string" ? byId(id) : id, pixels, shape, start, left, top);
  const pixelsOf = ({ pixels }) => Float32Array.from(atlas.bytes(pixels), (value) => value / 255);
  const numbers = (place) => `(${place.map((value) => atlas.number(value)).join(", ")})`;

  const scenes = {
    // 1: two numbers in, an image out.
    async code(scene) {
      const networks = await open("vae");
      const draw = atlas.latest(async () => paint("drawn", await networks.decode(Float32Array.from(ring.place), [0])));
      const ring = plane(scene, "vae", { move: (place) => { byId("two").textContent = numbers(place); draw(); } });
      ring.points = null;
      ring.set([0.5, -0.4]);
    },
    // 2: the image nearest to the pointer, and what its code kept.
    async codes(scene) {
      const networks = await open("ae");
      let image = 0;
      const draw = atlas.latest(async () => {
        thumbnail(byId("original"), image);
        const code = Float32Array.from([0, 1], (axis) => points.ae.at(image, axis));
        paint("kept", await networks.decode(code, [0]));
      });
      const map = plane(scene, "ae", {
        move: (place) => {
          image = map.nearest(place)[0].image;
          const name = classes.length > 1 ? `, label ${classes[points.ae.labels[image]]}` : "";
          byId("original").setAttribute("aria-label", `The original test image${name}`);
          draw();
        },
      });
      map.paint();
      map.set([0, 0]);
    },
    // 3: fifty random codes in both latent spaces, the same ones.
    async darts(scene) {
      const both = { ae: await open("ae"), vae: await open("vae") };
      let darts = [];
      const over = (map, context, color) => {
        context.strokeStyle = color("--ink");
        context.lineWidth = 2;
        for (const [x, y] of darts) for (const way of [-1, 1]) map.line(context, map.x(x) - 5, map.y(y) - 5 * way, map.x(x) + 5, map.y(y) + 5 * way);
      };
      const maps = { ae: plane(scene, "ae", { over }), vae: plane(scene, "vae", { over }) };
      for (const map of Object.values(maps)) map.ring = false;
      async function cast() {
        darts = Array.from({ length: 50 }, () => [atlas.normal(), atlas.normal()]);
        for (const [name, map] of Object.entries(maps)) {
          map.paint();
          const pixels = await both[name].decode(Float32Array.from(darts.flat()), new Array(50).fill(0));
          const canvas = scene.querySelector(`[data-darts=${name}]`);
          darts.forEach((_, i) => paint(canvas, pixels, i * size, (i % 10) * columns, Math.floor(i / 10) * rows));
          // How much of the code's region the darts reach: test images with a dart within half a unit.
          const near = (i) => darts.some(([x, y]) => Math.hypot(points[name].at(i, 0) - x, points[name].at(i, 1) - y) < 0.5);
          const reached = Array.from({ length: points[name].count }, (_, i) => near(i)).filter(Boolean).length;
          const words = `${Math.round((100 * reached) / points[name].count)}\u00a0% of the codes of test images have a dart within half a unit.`;
          scene.querySelector(`[data-count=${name}]`).textContent = words;
        }
      }
      byId("throw").addEventListener("click", cast);
      await cast();
    },
    // 4: half-way in the code against half-way in the pixels.
    async walk() {
      const networks = await open("vae"), { images } = networks;
      let a, b, codes;
      const draw = atlas.latest(async () => {
        const t = Number(byId("step").value), mix = (x, y) => x.map((value, i) => (1 - t) * value + t * y[i]);
        paint("faded", mix(a, b));
        paint("walked", await networks.decode(mix(codes[0], codes[1]), [0]));
      });
      async function choose(first, second) {
        [a, b] = [pixelsOf(images[first]), pixelsOf(images[second])];
        paint("from", a);
        paint("to", b);
        const both = new Float32Array([...a, ...b]), found = await networks.encode(both, [images[first].label, images[second].label]);
        codes = [found.slice(0, 2), found.slice(2)];
        await draw();
      }
      byId("step").addEventListener("input", draw);
      byId("pair").addEventListener("click", () => {
        const first = Math.floor(Math.random() * images.length);
        choose(first, (first + 1 + Math.floor(Math.random() * (images.length - 1))) % images.length);
      });
      await choose(0, Math.min(images.length - 1, 7));
    },
    // 5: one code, every label.
    async label(scene) {
      const networks = await open("cvae"), labels = (spaces.cvae.about.labels ?? classes.map((_, i) => i)).slice(0, 10);
      const draw = atlas.latest(async () => {
        const pixels = await networks.decode(Float32Array.from(labels.flatMap(() => ring.place)), labels);
        labels.forEach((_, i) => paint("every", pixels, i * size, i * columns, 0));
      });
      plane(scene, "vae").ring = false;
      const ring = plane(scene, "cvae", { move: draw });
      ring.set([0.8, 0.6]);
    },
    // 6: cut off or shifted, measured in pixels and in features.
    async metric(scene) {
      const { images, discriminate } = await open("metric");
      const shifted = (image, by) => image.map((_, i) => {
        const column = (i % columns) - by;
        return column < 0 || column >= columns ? 0 : image[i - by];
      });
      // The piece: the upper rows, down to where a fifth of the ink is gone.
      const cut = (image) => {
        const row = (i) => Math.floor((i % (rows * columns)) / columns), ink = new Float64Array(rows);
        image.forEach((value, i) => { ink[row(i)] += value; });
        const total = ink.reduce((sum, value) => sum + value, 0);
        let gone = 0, last = 0;
        while (last < rows && gone + ink[last] <= 0.2 * total) gone += ink[last++];
        return image.map((value, i) => (row(i) < last ? 0 : value));
      };
      const distance = (x, y) => Math.sqrt(x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0));
      async function measure(image, label, by) {
        const three = [image, cut(image), shifted(image, by)];
        const { features } = await discriminate(Float32Array.from(three.flatMap((each) => [...each])), [label, label, label]);
        const length = features.length / 3, feature = (i) => features.slice(i * length, (i + 1) * length);
        const both = (parts) => [distance(parts[0], parts[1]), distance(parts[0], parts[2])];
        return { three, pixels: both(three), features: both([0, 1, 2].map(feature)) };
      }
      let which = 7 % images.length;
      const draw = atlas.latest(async () => {
        const by = Number(byId("shift").value), { label } = images[which];
        byId("shifted-by").textContent = `${by} pixel${by === 1 ? "" : "s"}`;
        const { three, ...distances } = await measure(pixelsOf(images[which]), label, by);
        ["whole", "cut", "moved"].forEach((id, i) => paint(id, three[i]));
        for (const [name, [one, other]] of Object.entries(distances)) {
          const block = scene.querySelector(`[data-measure=${name}]`), most = Math.max(one, other, 1e-9);
          [one, other].forEach((value, i) => {
            block.querySelectorAll("i")[i].style.setProperty("--share", value / most);
            block.querySelectorAll("output")[i].textContent = atlas.number(value, 1);
          });
          block.querySelector(".verdict-line").textContent = one === other ? "Equally far." : `Nearer to the original: ${one < other ? "the image with a piece cut off." : "the shifted image."}`;
        }
      });
      // The same for all the images at hand.
      const tally = atlas.latest(async (outdated) => {
        const by = Number(byId("shift").value), count = { pixels: 0, features: 0 };
        for (const each of images) {
          const distances = await measure(pixelsOf(each), each.label, by);
          if (outdated()) return;
          for (const name of ["pixels", "features"]) count[name] += distances[name][1] < distances[name][0];
        }
        byId("tally").textContent = `Of the ${images.length} test images at hand, shifted by ${byId("shifted-by").textContent}, the shifted one is nearer for ${count.pixels} by pixels and for ${count.features} by features.`;
      });
      byId("shift").addEventListener("input", () => { draw(); tally(); });
      byId("another").addEventListener("click", () => { which = (which + 3) % images.length; draw(); });
      await draw();
      tally();
    },
  };

  async function begin(scene) {
    scene.dataset.state = "starting";
    try {
      await scenes[scene.id](scene);
      scene.dataset.state = "live";
      byId("learn-state").textContent = "";
    } catch (error) {
      console.warn(error);
      byId("learn-state").textContent = "The networks could not be started in this browser; the scenes need WebAssembly.";
    }
  }
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      begin(target);
    }
  }, { rootMargin: "30% 0px" });
  addEventListener("load", () => {
    thumbnails.src = part.dataset.thumbnails;
    for (const scene of document.querySelectorAll(".scene")) near.observe(scene);
  });
})();

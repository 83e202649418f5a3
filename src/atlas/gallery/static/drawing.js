// A person's own image as a network has learned to see images: what atlas/drawing.py does, in the same steps.
"use strict";
const sketch = { largest: 1024, frame: 0.03, faint: 0.03, contrast: 0.1, shade: 0.15, dust: 0.002, box: 20 / 28 };

// An image file or bitmap as `shape`, numbers in [0, 1], channel by channel. Throws an Error that says what is wrong.
sketch.prepare = async (file, [channels, rows, columns]) => {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error("not an image that this browser can read");
  }
  const times = channels === 1 ? Math.ceil(Math.max(image.width, image.height) / sketch.largest) : 1;
  const [width, height] = [Math.max(1, Math.round(image.width / times)), Math.max(1, Math.round(image.height / times))];
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const plane = (value) => Float64Array.from({ length: width * height }, (_, i) => value(4 * i));
  if (channels === 3) return sketch.square(data, width, height, rows, columns, plane);
  const tones = plane((i) => (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) / 255);
  return sketch.digit(tones, plane((i) => data[i + 3] / 255), width, height, rows, columns);
};

// The middle, as large as fits; what is transparent is white.
sketch.square = (data, width, height, rows, columns, plane) => {
  const across = Math.min(width, (height * columns) / rows), down = Math.min(height, (width * rows) / columns);
  const box = [(width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2];
  const found = new Float32Array(3 * rows * columns);
  for (let c = 0; c < 3; c++) {
    const values = plane((i) => 1 + (data[i + c] / 255 - 1) * (data[i + 3] / 255));
    found.set(sketch.resize(values, width, height, box, columns, rows, sketch.lanczos, 3), c * rows * columns);
  }
  return found.map((value) => Math.round(255 * Math.min(1, Math.max(0, value))) / 255);
};

// Light ink on black, in a box of 20 by 20 (of 28), its centre of mass in the middle.
sketch.digit = (tones, cover, width, height, rows, columns) => {
  const ink = sketch.ink(tones, cover, width, height);
  const profile = (values, wide, high, across) => {
    const sums = new Float64Array(across ? wide : high);
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) sums[across ? x : y] += values[y * wide + x];
    return sums;
  };
  const [top, bottom] = sketch.span(profile(ink, width, height, false));
  const [left, right] = sketch.span(profile(ink, width, height, true));
  const wide = right - left, high = bottom - top;
  const crop = Float64Array.from({ length: wide * high }, (_, i) => ink[(top + Math.floor(i / wide)) * width + left + (i % wide)]);
  const step = Math.max(wide, high) / (sketch.box * Math.min(rows, columns));
  const [x0, x1] = sketch.window(profile(crop, wide, high, true), columns, step);
  const [y0, y1] = sketch.window(profile(crop, wide, high, false), rows, step);
  const small = sketch.resize(crop, wide, high, [x0, y0, x1, y1], columns, rows, sketch.bicubic, 2).map((value) => Math.max(0, value));
  const white = sketch.quantile([...small].filter((value) => value > sketch.faint), 0.9);
  return Float32Array.from(small, (value) => Math.round(255 * Math.min(1, value / white)) / 255);
};

// How much ink, 0 to 1, lies on each pixel, whether it is darker than the paper or lighter.
sketch.ink = (tones, cover, width, height) => {
  const solid = [...tones.keys()].filter((i) => cover[i] > 0.5);
  if (solid.length < tones.length) {
    if (!solid.length) throw new Error("an empty picture: nothing in it is not transparent");
    const kept = solid.map((i) => tones[i]);
    if (sketch.quantile(kept, 0.98) - sketch.quantile(kept, 0.02) < sketch.contrast) return cover.map((value) => (value > sketch.faint ? value : 0));
    const middle = sketch.quantile(kept, 0.5);
    tones = tones.map((value, i) => cover[i] * value + (1 - cover[i]) * middle);
  }
  const [paper, grain] = sketch.paper(tones, width, height);
  const least = Math.max(sketch.faint, 3 * grain);
  const over = (values) => values.reduce((sum, value) => sum + (value > least ? value : 0), 0);
  let ink = paper.map((value, i) => value - tones[i]);
  const other = ink.map((value) => -value);
  if (over(ink) >= over(other)) {
    // Where less light falls, paper and ink are darker in proportion.
    const middle = sketch.quantile(paper, 0.5);
    ink = ink.map((value, i) => (value * middle) / Math.max(paper[i], sketch.contrast));
  } else ink = other;
  const inked = ink.filter((value) => value > least);
  const full = inked.length ? sketch.quantile(inked, 0.95) : 0;
  if (full < Math.max(sketch.contrast, 2 * least)) throw new Error("an empty picture: found no ink in it");
  return ink.map((value) => (value > Math.max(least, sketch.shade * full) ? Math.min(1, value / full) : 0));
};

// The paper's tone under each pixel, a plane through the border's pixels, and how far those scatter.
sketch.paper = (tones, width, height) => {
  const thick = Math.max(1, Math.round(sketch.frame * Math.min(height, width)));
  const place = (i) => [1, (i % width) / width - 0.5, Math.floor(i / width) / height - 0.5];
  const border = [...tones.keys()].filter((i) => {
    const x = i % width, y = Math.floor(i / width);
    return x < thick || y < thick || x >= width - thick || y >= height - thick;
  });
  let plane = [sketch.quantile(border.map((i) => tones[i]), 0.5), 0, 0], scatter = 0;
  const at = (i) => place(i).reduce((sum, value, k) => sum + value * plane[k], 0);
  const off = () => border.map((i) => Math.abs(tones[i] - at(i)));
  for (let turn = 0; turn < 2; turn++) {
    const far = off(), most = Math.max(sketch.faint, 4 * sketch.quantile(far, 0.5));
    const near = border.filter((_, n) => far[n] <= most);
    const normal = [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => near.reduce((sum, i) => sum + place(i)[row] * (column < 3 ? place(i)[column] : tones[i]), 0)));
    plane = sketch.solve(normal);
    scatter = 1.4826 * sketch.quantile(off(), 0.5);
  }
  return [tones.map((_, i) => at(i)), scatter];
};

// Gauss and Jordan; a direction that the points do not span stays zero.
sketch.solve = (matrix) => {
  const size = matrix.length;
  for (let column = 0; column < size; column++) {
    const pivot = matrix.slice(column).reduce((best, row, n) => (Math.abs(row[column]) > Math.abs(matrix[best][column]) ? n + column : best), column);
    [matrix[column], matrix[pivot]] = [matrix[pivot], matrix[column]];
    if (Math.abs(matrix[column][column]) < 1e-12) continue;
    for (const row of matrix) {
      if (row === matrix[column]) continue;
      const times = row[column] / matrix[column][column];
      for (let k = column; k <= size; k++) row[k] -= times * matrix[column][k];
    }
  }
  return matrix.map((row, n) => (Math.abs(row[n]) < 1e-12 ? 0 : row[size] / row[n]));
};

sketch.quantile = (values, share) => {
  const sorted = Float64Array.from(values).sort(), at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

// Where the ink begins and ends along a profile of it, but for dust.
sketch.span = (profile) => {
  const whole = profile.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  const shares = [...profile].map((value) => (sum += value) / whole);
  return [shares.findIndex((share) => share > sketch.dust), shares.findIndex((share) => share >= 1 - sketch.dust) + 1];
};

// Where `size` pixels of the result begin and end along a profile of the ink.
sketch.window = (profile, size, step) => {
  let mass = 0, moment = 0;
  profile.forEach((value, i) => { mass += value; moment += value * (i + 0.5); });
  const before = Math.max(0, Math.min(Math.round(size / 2 + 0.5 - moment / mass / step), Math.trunc(size - profile.length / step)));
  return [-before * step, (size - before) * step];
};

sketch.bicubic = (x) => {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
};
sketch.lanczos = (x) => {
  const wave = (value) => (value === 0 ? 1 : Math.sin(Math.PI * value) / (Math.PI * value));
  return Math.abs(x) < 3 ? wave(x) * wave(x / 3) : 0;
};

// Part of a picture, [left, top, right, bottom], in another size; the filter is as wide as a new pixel is, and no less
// than a pixel. Beyond the picture lies nothing.
sketch.resize = (values, width, height, box, columns, rows, filter, support) => {
  const along = (low, high, count, length) => {
    const scale = (high - low) / count, wide = Math.max(scale, 1);
    return Array.from({ length: count }, (_, n) => {
      const middle = low + (n + 0.5) * scale, taps = [];
      let sum = 0;
      for (let i = Math.floor(middle - support * wide + 0.5); i < Math.floor(middle + support * wide + 0.5); i++) {
        // A box inside the picture is filtered inside the picture.
        const outside = i < 0 || i >= length;
        if (outside && low >= 0 && high <= length) continue;
        const weight = filter((i + 0.5 - middle) / wide);
        sum += weight;
        if (!outside) taps.push([i, weight]);
      }
      return taps.map(([i, weight]) => [i, weight / sum]);
    });
  };
  const across = along(box[0], box[2], columns, width), down = along(box[1], box[3], rows, height);
  const narrow = new Float64Array(columns * height), found = new Float64Array(columns * rows);
  for (let y = 0; y < height; y++) across.forEach((taps, x) => { for (const [i, weight] of taps) narrow[y * columns + x] += weight * values[y * width + i]; });
  down.forEach((taps, y) => { for (const [i, weight] of taps) for (let x = 0; x < columns; x++) found[y * columns + x] += weight * narrow[i * columns + x]; });
  return found;
};

// An image file of one's own, framed as the training images are: the same steps as atlas/inference/own_image.py.
"use strict";
const ownImage = { maxSide: 1024, border: 0.03, minDifference: 0.03, minContrast: 0.1, shade: 0.15, dust: 0.002, box: 20 / 28, fitSteps: 10 };

// The image file as `shape`, numbers in [0, 1], channel by channel, framed as the data set's images: as a digit, or by
// crop, pad or stretch on a background. Throws an Error that says what is wrong.
ownImage.read = async (file, [channels, rows, columns], framing = channels === 1 ? "digit" : "crop", background = "#ffffff") => {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error("not an image that this browser can read");
  }
  if (framing !== "digit") {
    // Crop: the middle, as large as fits. Pad: all of it, between bars.
    const fits = framing === "pad" ? Math.max : Math.min, { width, height } = image, size = rows * columns;
    const [wide, high] = framing === "stretch" ? [width, height] : [fits(width, (height * columns) / rows), fits(height, (width * rows) / columns)];
    const data = ownImage.scale(image, (width - wide) / 2, (height - high) / 2, wide, high, columns, rows, background);
    if (channels === 1) return Float32Array.from(ownImage.grey(data));
    return Float32Array.from({ length: 3 * size }, (_, i) => data[4 * (i % size) + Math.floor(i / size)] / 255);
  }
  const factor = Math.min(1, ownImage.maxSide / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((length) => Math.max(1, Math.round(length * factor)));
  return ownImage.frameDigit(ownImage.grey(ownImage.scale(image, 0, 0, image.width, image.height, width, height)), width, height, rows, columns);
};

// Part of an image, scaled, as bytes of red, green, blue and alpha.
ownImage.scale = (image, left, top, width, height, columns, rows, background) => {
  const canvas = new OffscreenCanvas(columns, rows), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, columns, rows);
  }
  context.drawImage(image, left, top, width, height, 0, 0, columns, rows);
  return context.getImageData(0, 0, columns, rows).data;
};

// Brightness, 0 to 1, on an opaque background.
ownImage.grey = (data) => {
  const length = data.length / 4, alpha = (i) => data[4 * i + 3] / 255;
  const grey = Float64Array.from({ length }, (_, i) => (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255);
  const opaque = grey.filter((_, i) => alpha(i) > 0.5);
  if (!opaque.length) throw new Error("an empty picture: nothing in it is not transparent");
  let background = ownImage.quantile(opaque, 0.5);
  const strokesAlone = ownImage.quantile(opaque, 0.98) - ownImage.quantile(opaque, 0.02) < ownImage.minContrast;
  if (strokesAlone && opaque.length < length) background = background < 0.5 ? 1 : 0;
  return grey.map((value, i) => alpha(i) * value + (1 - alpha(i)) * background);
};

// Light ink on black: cropped, scaled into a box of 20 by 20 (of 28), its center of mass in the middle.
ownImage.frameDigit = (grey, width, height, rows, columns) => {
  const ink = ownImage.ink(grey, width, height);
  const profiles = [0, 1].map((axis) => ownImage.profile(ink, width, height, axis));
  const [[top, bottom], [left, right]] = profiles.map(ownImage.span);
  const canvas = new OffscreenCanvas(width, height), pixels = new ImageData(width, height);
  ink.forEach((value, i) => pixels.data.fill(255 * value, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const factor = (ownImage.box * Math.min(rows, columns)) / Math.max(bottom - top, right - left);
  const [wide, high] = [right - left, bottom - top].map((length) => Math.max(1, Math.round(length * factor)));
  const data = ownImage.scale(canvas, left, top, right - left, bottom - top, wide, high);
  let small = Float64Array.from({ length: wide * high }, (_, i) => data[4 * i] / 255);
  const white = ownImage.quantile(small.filter((value) => value > ownImage.minDifference), 0.9);
  small = small.map((value) => Math.round(255 * Math.min(1, value / white)) / 255);
  const y = ownImage.start(profiles[0].slice(top, bottom), high, rows), x = ownImage.start(profiles[1].slice(left, right), wide, columns);
  const framed = new Float32Array(rows * columns);
  small.forEach((value, i) => { framed[(y + Math.floor(i / wide)) * columns + x + (i % wide)] = value; });
  return framed;
};

// How much ink, 0 to 1, lies on each pixel, darker or lighter than the background.
ownImage.ink = (grey, width, height) => {
  const [background, noise] = ownImage.background(grey, width, height);
  const least = Math.max(ownImage.minDifference, 3 * noise);
  const total = (values) => values.reduce((sum, value) => sum + (value > least ? value : 0), 0);
  let ink = background.map((value, i) => value - grey[i]);
  const lighter = ink.map((value) => -value);
  if (total(ink) >= total(lighter)) {
    // Where less light falls, paper and ink are darker in proportion.
    const middle = ownImage.quantile(background, 0.5);
    ink = ink.map((value, i) => (value * middle) / Math.max(background[i], ownImage.minContrast));
  } else ink = lighter;
  const contrast = ownImage.quantile(ink.filter((value) => value > least), 0.95);
  if (!(contrast >= Math.max(ownImage.minContrast, 2 * least))) throw new Error("an empty picture: found no ink in it");
  return ink.map((value) => (value > Math.max(least, ownImage.shade * contrast) ? Math.min(1, value / contrast) : 0));
};

// The background's brightness under each pixel, a plane through the border's pixels, and the scatter of those.
ownImage.background = (grey, width, height) => {
  const thickness = Math.max(1, Math.round(ownImage.border * Math.min(height, width)));
  const x = (i) => ((i % width) - (width - 1) / 2) / width, y = (i) => (Math.floor(i / width) - (height - 1) / 2) / height;
  const border = [...grey.keys()].filter((i) => (0.5 - Math.abs(x(i))) * width < thickness || (0.5 - Math.abs(y(i))) * height < thickness);
  let [level, right, down] = [ownImage.quantile(border.map((i) => grey[i]), 0.5), 0, 0];
  const plane = (i) => level + right * x(i) + down * y(i);
  const distances = () => border.map((i) => Math.abs(grey[i] - plane(i)));
  const slope = (axis, values) => border.reduce((sum, i, n) => sum + axis(i) * values[n], 0) / Math.max(1e-9, border.reduce((sum, i) => sum + axis(i) ** 2, 0));
  for (let step = 0; step < ownImage.fitSteps; step++) {
    // Pixels far from the plane are ink that reaches the border: the plane itself stands in for them.
    const off = distances(), most = Math.max(ownImage.minDifference, 4 * ownImage.quantile(off, 0.5));
    const values = border.map((i, n) => (off[n] <= most ? grey[i] : plane(i)));
    [level, right, down] = [values.reduce((sum, value) => sum + value, 0) / values.length, slope(x, values), slope(y, values)];
  }
  return [grey.map((_, i) => plane(i)), 1.4826 * ownImage.quantile(distances(), 0.5)];
};

ownImage.quantile = (values, share) => {
  const sorted = Float64Array.from(values).sort(), position = share * (sorted.length - 1), low = Math.floor(position);
  return sorted[low] + (position - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
};

// Sums of the rows (axis 0) or the columns (axis 1).
ownImage.profile = (values, width, height, axis) => {
  const sums = new Float64Array(axis ? width : height);
  values.forEach((value, i) => { sums[axis ? i % width : Math.floor(i / width)] += value; });
  return sums;
};

// Where the ink begins and ends along a profile of it, but for dust.
ownImage.span = (profile) => {
  const whole = profile.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  const shares = profile.map((value) => (sum += value) / whole);
  return [shares.findIndex((share) => share > ownImage.dust), shares.findIndex((share) => share >= 1 - ownImage.dust) + 1];
};

// Where a profile of the ink, scaled to `length`, begins in `size` pixels: its center of mass in the middle.
ownImage.start = (profile, length, size) => {
  const mass = profile.reduce((sum, value) => sum + value, 0);
  const center = profile.reduce((sum, value, i) => sum + value * (i + 0.5), 0) / mass * length / profile.length;
  return Math.min(Math.max(Math.round(size / 2 + 0.5 - center), 0), size - length);
};

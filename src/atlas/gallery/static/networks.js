// A run's trained networks in this browser: ONNX Runtime Web, what is binary unpacked, and pixels on a canvas.
"use strict";
const atlas = { opened: {}, loading: Promise.resolve(), computing: Promise.resolve() };

// What is binary comes as base64, where it is large as base64 of gzip.
atlas.bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
atlas.unpack = async (text) => {
  const stream = new Blob([atlas.bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

// A page that is opened from disk may load scripts, and nothing else that is not shown.
atlas.load = (address) => new Promise((resolve, reject) => {
  const script = document.createElement("script");
  [script.src, script.onload, script.onerror] = [address, resolve, () => reject(new Error(`${address} cannot be read`))];
  document.head.append(script);
});

atlas.start = (addresses) => atlas.started ??= (async () => {
  if (typeof WebAssembly === "undefined") throw new Error("this browser lacks WebAssembly, which running the network needs");
  for (const address of addresses.split(" ")) await atlas.load(address);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = (await atlas.unpack(atlasRuntime.binary)).buffer;
  const module = new Blob([await atlas.unpack(atlasRuntime.module)], { type: "text/javascript" });
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
  globalThis.atlasRuntime = undefined;
})();

// One call at a time; the outputs by their names.
atlas.compute = (session, name, data, shape, labels) => {
  const feeds = { [name]: new ort.Tensor("float32", data, [labels.length, ...shape]) };
  if (session.inputNames.includes("labels")) feeds.labels = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
  const outputs = atlas.computing.catch(() => {}).then(() => session.run(feeds));
  atlas.computing = outputs;
  return outputs;
};

// The networks of the script `address`, once for a page: {images, decode, encode, discriminate}, the last two if there.
atlas.open = (address, runtime, { shape, latent_dim }) => atlas.opened[address] ??= (async () => {
  await atlas.start(runtime);
  const reading = atlas.loading.catch(() => {}).then(async () => {
    await atlas.load(address);
    const texts = globalThis.atlasNetworks;
    globalThis.atlasNetworks = undefined;
    return texts;
  });
  atlas.loading = reading;
  const { images, ...texts } = await reading;
  const session = {};
  for (const [name, text] of Object.entries(texts)) session[name] = await ort.InferenceSession.create(await atlas.unpack(text));
  const networks = { images };
  networks.decode = async (codes, labels) => (await atlas.compute(session.decoder, "codes", codes, [latent_dim], labels)).images.data;
  if (session.encoder) networks.encode = async (pixels, labels) => (await atlas.compute(session.encoder, "images", pixels, shape, labels)).codes.data;
  if (session.discriminator) {
    networks.discriminate = async (pixels, labels) => {
      const { logits, features } = await atlas.compute(session.discriminator, "images", pixels, shape, labels);
      return { logits: logits.data, features: features.data };
    };
  }
  return networks;
})();

// Pixels, numbers in [0, 1] channel by channel, on a canvas; from `start` of the numbers, at `left` and `top`.
atlas.paint = (canvas, pixels, [channels, rows, columns], start = 0, left = 0, top = 0) => {
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), size = rows * columns;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * pixels[start + (channels === 3 ? c : 0) * size + i]);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, left, top);
};

// Codes of test images: {count, labels, at(image, dimension)}; `dimension` counts as the code does.
atlas.scatter = ({ scatter, order }) => {
  if (!scatter) return null;
  const steps = atlas.bytes(scatter.codes), labels = atlas.bytes(scatter.labels), size = scatter.low.length;
  const at = (image, dimension) => {
    const k = order.indexOf(dimension);
    return scatter.low[k] + (steps[image * size + k] / 255) * (scatter.high[k] - scatter.low[k]);
  };
  return { count: labels.length, labels, at, has: (dimension) => order.indexOf(dimension) < size };
};

atlas.normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
atlas.number = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
// The last of several wishes is done; one at a time.
atlas.latest = (work) => {
  let wanted = false, working = null;
  return () => {
    wanted = true;
    return working ??= (async () => {
      try {
        while (wanted) {
          wanted = false;
          await work(() => wanted);
        }
      } finally {
        working = null;
      }
    })();
  };
};

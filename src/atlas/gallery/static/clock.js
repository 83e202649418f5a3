// One clock for a run's films and curves: a slider over the snapshots, a line in each panel, and a click on a panel.
"use strict";
(() => {
  const part = document.querySelector(".clock");
  if (!part) return;
  const epochs = part.dataset.epochs.split(" ").map(Number), slider = part.querySelector("input"), words = part.querySelector("output");
  const films = [...document.querySelectorAll("#animations video")], panels = [...document.querySelectorAll("#curves svg[data-epochs]")];
  const [left, width] = [40, 234], hold = 1.5; // Of a panel; seconds that a film's last frame stays.
  part.hidden = false;
  const lines = panels.map((panel) => panel.querySelector(".now"));
  const rate = (film) => epochs.length / Math.max(0.1, film.duration - hold);
  function tell(frame) {
    slider.value = frame;
    words.textContent = `epoch ${Number(epochs[frame].toPrecision(3))}`;
    panels.forEach((panel, i) => {
      const [first, last] = panel.dataset.epochs.split(" ").map(Number);
      const x = left + width * Math.min(1, Math.max(0, (epochs[frame] - first) / (last - first || 1)));
      lines[i].setAttribute("x1", x);
      lines[i].setAttribute("x2", x);
    });
  }
  function go(frame) {
    tell(frame);
    for (const film of films) {
      const seek = () => { film.currentTime = (frame + 0.5) / rate(film); };
      film.dataset.stopped = "yes"; // It does not play again by itself.
      film.pause();
      if (Number.isFinite(film.duration)) seek();
      else {
        film.addEventListener("loadedmetadata", seek, { once: true });
        film.preload = "metadata";
        film.load();
      }
    }
  }
  globalThis.goToTime = (share) => go(Math.round(share * (epochs.length - 1)));
  slider.addEventListener("input", () => {
    go(Number(slider.value));
    if (typeof tellBeside === "function") tellBeside({ time: slider.value / (epochs.length - 1) });
  });
  for (const film of films) {
    film.addEventListener("timeupdate", () => {
      if (!film.paused) tell(Math.min(epochs.length - 1, Math.floor(film.currentTime * rate(film))));
    });
  }
  panels.forEach((panel) => panel.addEventListener("click", (event) => {
    const box = panel.getBoundingClientRect(), [first, last] = panel.dataset.epochs.split(" ").map(Number);
    const epoch = first + ((((event.clientX - box.left) / box.width) * 280 - left) / width) * (last - first);
    const distances = epochs.map((value) => Math.abs(value - epoch));
    go(distances.indexOf(Math.min(...distances)));
  }));
  tell(epochs.length - 1);
})();

// Behavior of the gallery's pages: animations in view play, filters, choices, sorting of the table.
"use strict";
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

// An animation plays while it is in view, unless the reader stopped it or prefers no motion.
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
const playing = new Set();
const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    // Of a cropped video most lies out of sight: its frame counts.
    const video = target.querySelector("video") ?? target;
    if (isIntersecting && !reducedMotion && !video.dataset.stopped) {
      playing.add(video);
      video.play().catch(() => {});
    } else if (!isIntersecting) {
      playing.delete(video);
      video.pause();
    }
  }
}, { threshold: 0.3 });
for (const video of all("video")) {
  video.addEventListener("pause", () => { if (playing.has(video)) video.dataset.stopped = "yes"; });
  video.addEventListener("play", () => { playing.add(video); delete video.dataset.stopped; });
  inView.observe(video.closest(".part") ?? video);
}

// Filters: nothing selected means everything.
const filters = document.getElementById("filters");
filters?.addEventListener("change", () => {
  const selected = new FormData(filters);
  const wanted = (name, value) => !selected.has(name) || selected.getAll(name).includes(value);
  for (const part of all("[data-run]")) {
    part.toggleAttribute("hidden", !(wanted("dataset", part.dataset.dataset) && wanted("model", part.dataset.model)));
  }
  for (const group of all("[data-group]")) {
    group.hidden = !group.querySelector("[data-run]:not([hidden])");
  }
  const rows = all(".results tbody tr");
  const shown = rows.filter((row) => !row.hidden).length;
  const visible = new Set(rows.filter((row) => !row.hidden).map((row) => row.dataset.run));
  for (const claim of all("[data-runs]")) {
    const keys = claim.dataset.runs.split(" ").filter(Boolean);
    claim.hidden = shown < rows.length && !keys.some((key) => visible.has(key));
  }
  for (const statement of all(".claims > li")) statement.hidden = !statement.querySelector("details:not([hidden])");
  document.querySelector(".none").hidden = shown > 0;
  document.querySelector("main").classList.toggle("empty", !shown);
  for (const count of all(".count")) count.textContent = shown === rows.length ? `All ${shown} runs` : `${shown} of ${rows.length} runs`;
});

// One of several: labels of an animation, kinds of figures.
for (const choice of all("[data-choice]")) {
  choice.addEventListener("change", ({ target }) => {
    for (const option of all("[data-option]", choice)) option.hidden = option.dataset.option !== target.value;
  });
}

// Crop of an animation to one label's part, enlarged; its controls are out of sight then, so a button replaces them.
for (const card of all("[data-crop]")) {
  const video = card.querySelector("video"), part = card.querySelector(".part"), scrub = card.querySelector(".scrub"), [button, time] = scrub.children;
  const [width, height] = card.dataset.crop.split(" ").map(Number);
  const caption = card.querySelector("figcaption"), whole = caption.textContent;
  card.addEventListener("change", ({ target }) => {
    const alone = target.value !== "";
    const [left, top, across, down] = alone ? target.value.split(" ").map(Number) : [0, 0, width, height];
    part.style.cssText = alone ? `aspect-ratio: ${across} / ${down}; max-width: ${3 * across}px` : "";
    video.style.width = alone ? `${(100 * width) / across}%` : "";
    video.style.marginLeft = alone ? `${(-100 * left) / across}%` : "";
    video.style.marginTop = alone ? `${(-100 * top) / across}%` : "";
    part.classList.toggle("alone", alone);
    video.controls = !alone;
    caption.textContent = alone ? whole.replace("every label", `label ${target.parentElement.textContent}`) : whole;
    scrub.hidden = !alone;
  });
  const updateButton = () => { button.textContent = video.paused ? "Play" : "Pause"; };
  for (const event of ["play", "pause"]) video.addEventListener(event, updateButton);
  button.addEventListener("click", () => { if (video.paused) video.play(); else video.pause(); });
  updateButton();
  video.addEventListener("timeupdate", () => { if (video.duration) time.value = (1000 * video.currentTime) / video.duration; });
  time.addEventListener("input", () => {
    video.pause();
    if (video.duration) video.currentTime = (time.value / 1000) * video.duration;
  });
}

// Sorting: first the better end of a column, then the other; a metric that does not apply always comes last.
const heads = all(".results thead th");
heads.forEach((head, column) => {
  head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.better === "higher" ? "descending" : "ascending";
    const opposite = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? opposite : first;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const value = (row) => {
      if (head.dataset.sort === "order") return Number(row.dataset.order);
      const cell = row.cells[column];
      if (head.dataset.sort === "word") return cell.textContent;
      if (!cell.hasAttribute("data-value") || !Number.isFinite(Number(cell.dataset.value))) return null;
      // Of some metrics the best value lies in the middle.
      return head.dataset.near ? Math.abs(Number(cell.dataset.value) - Number(head.dataset.near)) : Number(cell.dataset.value);
    };
    // Numbers of different data sets are not compared: each keeps its place.
    const sets = [...new Set(all(".results tbody tr").sort((a, b) => a.dataset.order - b.dataset.order).map((row) => row.dataset.dataset))];
    const group = (row) => (head.dataset.sort === "number" ? sets.indexOf(row.dataset.dataset) : 0);
    const rows = all(".results tbody tr").map((row) => ({ row, key: value(row), order: Number(row.dataset.order) }));
    rows.sort((a, b) => {
      if (group(a.row) !== group(b.row)) return group(a.row) - group(b.row);
      if (a.key === b.key) return a.order - b.order;
      if (a.key === null || b.key === null) return a.key === null ? 1 : -1;
      return (a.key < b.key ? -1 : 1) * (direction === "ascending" ? 1 : -1);
    });
    document.querySelector(".results tbody").append(...rows.map(({ row }) => row));
  });
});

// Curves: pointing at a run's name highlights its lines.
for (const name of all(".legend li")) {
  const block = name.closest(".by-dataset");
  const emphasize = (on) => {
    block.toggleAttribute("data-emphasis", on);
    for (const line of all("svg g[data-run]", block)) line.classList.toggle("emphasis", on && line.dataset.run === name.dataset.run);
  };
  for (const event of ["pointerenter", "focusin"]) name.addEventListener(event, () => emphasize(true));
  for (const event of ["pointerleave", "focusout"]) name.addEventListener(event, () => emphasize(false));
}

// Terms of the loss: pointing at one lights its place in the formula, in the scheme and among the curves.
for (const part of all("[data-term]")) {
  const light = (on) => { for (const same of all(`[data-term="${part.dataset.term}"]`)) same.classList.toggle("lit", on); };
  for (const event of ["pointerenter", "focusin"]) part.addEventListener(event, () => light(true));
  for (const event of ["pointerleave", "focusout"]) part.addEventListener(event, () => light(Boolean(document.querySelector(`button[data-term="${part.dataset.term}"][aria-pressed=true]`))));
  if (part.matches("button")) {
    part.addEventListener("click", () => {
      const on = part.getAttribute("aria-pressed") !== "true";
      part.setAttribute("aria-pressed", String(on));
      light(on);
    });
  }
}
for (const swipe of all(".swipe")) {
  swipe.querySelector("input").addEventListener("input", ({ target }) => swipe.style.setProperty("--share", `${target.value}%`));
}

// Lines of the family tree, from each model to what it adds to its parents.
const family = document.querySelector(".family");
if (family) {
  const lines = family.querySelector("svg");
  const drawLines = () => {
    const origin = family.getBoundingClientRect(), parts = [];
    for (const child of all("article", family)) {
      for (const parent of child.dataset.parents.split(" ").filter(Boolean)) {
        const from = document.getElementById(`model-${parent}`)?.getBoundingClientRect(), to = child.getBoundingClientRect();
        if (!from) continue;
        const [x1, y1, x2, y2] = [from.right - origin.x, from.y - origin.y + Math.min(60, from.height / 2), to.x - origin.x, to.y - origin.y + Math.min(60, to.height / 2)];
        const bend = Math.min(x2 - x1, 70) / 2;
        parts.push(`<path d="M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}"/>`);
      }
    }
    lines.innerHTML = parts.join("");
  };
  new ResizeObserver(drawLines).observe(family);
}

document.getElementById("columns")?.addEventListener("change", ({ target }) => {
  document.querySelector(".results").classList.toggle("all", target.checked);
});

// A figure in its own pixels; without this script its link shows it.
const zoom = document.getElementById("zoom");
for (const link of all(".zoom")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const large = link.firstElementChild.cloneNode(true);
    large.style.width = `${link.dataset.width}px`;
    zoom.querySelector("p").textContent = link.dataset.title;
    zoom.querySelector("form ~ *")?.remove();
    zoom.append(large);
    zoom.showModal();
  });
}
zoom.addEventListener("click", (event) => { if (event.target === zoom) zoom.close(); });

// A link to a claim opens its row.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();

// Table of contents: closed on a narrow screen; it marks the section in view.
const menu = document.querySelector(".menu details");
if (menu) {
  const narrow = matchMedia("(max-width: 62rem)");
  const fold = () => { menu.open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  const links = new Map(all("nav a[href^='#']", menu).map((link) => [link.hash.slice(1), link]));
  const here = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) links.get(target.id).setAttribute("aria-current", "true");
      else links.get(target.id).removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -79% 0px" });
  for (const [id, link] of links) {
    link.addEventListener("click", fold);
    here.observe(document.getElementById(id));
  }
}

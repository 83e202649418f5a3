// Two runs side by side: two pages in frames, and messages between them. The address names the runs: #left,right.
"use strict";
(() => {
  const pickers = [...document.querySelectorAll(".two select")], frames = [...document.querySelectorAll(".two iframe")];
  const keys = [...pickers[0].options].map((option) => option.value);
  function show(which, key) {
    pickers[which].value = key;
    frames[which].src = `${encodeURIComponent(key)}.html?beside`;
  }
  function remember() {
    history.replaceState(null, "", `#${pickers.map((picker) => encodeURIComponent(picker.value))}`);
  }
  const asked = location.hash.slice(1).split(",").map(decodeURIComponent);
  pickers.forEach((picker, which) => {
    show(which, keys.includes(asked[which]) ? asked[which] : keys[Math.min(which, keys.length - 1)]);
    picker.addEventListener("change", () => { show(which, picker.value); remember(); });
  });
  remember();
  addEventListener("message", ({ data, source }) => {
    const from = frames.findIndex((frame) => frame.contentWindow === source);
    if (from < 0 || !data?.atlas) return;
    if (data.atlas.height) frames[from].style.height = `${data.atlas.height}px`;
    else frames[1 - from].contentWindow.postMessage(data, "*");
  });
})();

// In the report of a comparison: the maps of all arms follow the pointer, or the arrow keys, over any of them.
(() => {
  const stored = document.getElementById("live");
  if (!stored) return;
  const data = JSON.parse(stored.textContent);
  const { row, strongest, draw, mark, put, share, cell, percent } = attention(data.settings);
  const canvas = document.createElement("canvas");
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
  const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);

  // What stands below a map, in both languages.
  const said = (found) => {
    const values = [...found.values], total = sum(values);
    const low = Math.min(...values), high = Math.max(...values);
    if (low < 0 || Math.abs(total - 1) > 0.05) {  // no shares: dot products
      return data.words.signed_weights.map((text) => fill(text, { low: low.toPrecision(2), high: high.toPrecision(2) }));
    }
    const best = strongest(found), cells = values.length;
    const top = percent(sum(best.map((one) => one.weight)) / total);
    return data.words.weights.map((text) => fill(text, { cells, top, even: percent(best.length / cells) }));
  };

  for (const scene of document.querySelectorAll(".case")) {
    const maps = [...scene.querySelectorAll("[data-weights]")].map((stack) => {
      const image = stack.querySelector("img"), caption = stack.nextElementSibling;
      return { stack, whole: stack.querySelector(".whole"), image, caption, part: JSON.parse(stack.dataset.weights), at: image.src, words: caption.innerHTML };
    });
    if (!maps.length) continue;
    const photo = scene.querySelector(".photo");
    const ring = photo.querySelector(".query").style;
    const start = [parseFloat(ring.top) / 100, parseFloat(ring.left) / 100];
    let point = start;
    const ask = (where) => {
      point = where;
      put(photo.querySelector(".whole"), ...point);
      for (const { whole, image, caption, part } of maps) {
        const found = row(part, ...point);
        draw(canvas, found);
        image.src = canvas.toDataURL();
        mark(whole, found);
        put(whole, ...point);
        said(found).forEach((text, language) => { caption.children[language].textContent = text; });
      }
    };
    const back = () => {
      ask(start);  // puts frames and rings where they were; pictures and words then are those of the report
      for (const { image, caption, at, words } of maps) { image.src = at; caption.innerHTML = words; }
    };
    let waiting = 0;
    for (const over of [photo, ...maps.map((one) => one.stack)]) {
      over.addEventListener("pointermove", (event) => {
        point = share(event, over.querySelector(".whole"));
        if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; ask(point); });
      });
      over.addEventListener("pointerleave", () => { cancelAnimationFrame(waiting); waiting = 0; back(); });
      over.addEventListener("blur", back);
      over.addEventListener("keydown", (event) => {
        const [down, across] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] || [0, 0];
        if (!down && !across) return;
        event.preventDefault();
        const fine = maps[0].part.queries.map((count) => Math.max(count, 8));
        const step = (at, by, count) => (Math.min(count - 1, Math.max(0, cell(at, count) + by)) + 0.5) / count;
        ask([step(point[0], down, fine[0]), step(point[1], across, fine[1])]);
      });
    }
  }
})();

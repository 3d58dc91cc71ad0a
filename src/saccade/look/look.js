// The page of `saccade look`: a point is chosen, and every place shows what that point attends to.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { row, map, strongest, draw, mark, put, moved, share, cell, limits, percent } = attention(data.settings);
  const stage = document.getElementById("stage");
  const canvas = stage.querySelector("canvas");
  const said = document.getElementById("said");
  const tiles = [...document.querySelectorAll(".tile")];
  const MOST_PINS = 6;
  let place = data.place;
  let kept = [(data.points[0][0] + 0.5) / data.size[0], (data.points[0][1] + 0.5) / data.size[1]];
  let point = kept;
  const pins = [];

  // Texts in both languages; CSS shows one.
  const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
  const pair = (key, values = {}) => [0, 1].map((language) =>
    fill(data.words[key][language], Object.fromEntries(Object.entries(values).map(
      ([name, value]) => [name, Array.isArray(value) ? value[language] : value]))));
  const join = (...pairs) => [0, 1].map((language) => pairs.map((one) => one[language]).join(""));
  const write = (element, texts) => {
    element.replaceChildren(...[["en", "en"], ["zh", "zh-Hans"]].map(([name, tag], language) => {
      const span = document.createElement("span");
      span.className = name;
      span.lang = tag;
      span.textContent = texts[language];
      return span;
    }));
  };
  const figures = (value) => Number(value.toPrecision(2)).toString();
  const weight = (one, value) => (one.weights.signed || !one.sums ? figures(value) : percent(value));
  const pixel = ([down, across]) => ({ y: cell(down, data.size[0]), x: cell(across, data.size[1]) });

  // What a place shows for a point: numbers to draw, whether they lie on the photograph, and a sentence.
  const mean = (one, other) => ({ ...one, values: one.values.map((value, k) => (value + other.values[k]) / 2) });
  const views = {
    weights: (one, [down, across]) => {
      const found = row(one.weights, down, across);
      const shares = strongest(found).map((source) => weight(one, source.weight)).join(", ");
      const [low, high] = limits(found);
      const signed = low < 0;
      const shared = one.weights.queries[0] * one.weights.queries[1] === 1 && one.shared;
      const text = signed ? pair("said_signed", { low: figures(low), high: figures(high) })
        : pair(shared ? "said_shared" : "said_weights", { shares, count: strongest(found).length, cells: found.values.length });
      return { found, marks: true, text: found.exact ? join(text, pair("said_exact")) : text };
    },
    spatial: (one, [down, across]) => {
      const found = map(one.spatial);
      const value = found.values[cell(down, found.height) * found.width + cell(across, found.width)];
      const text = pair("said_spatial", { value: value.toFixed(3), low: one.spatial.low.toFixed(2), high: one.spatial.high.toFixed(2) });
      return { found, range: one.spatial.drawn, text };
    },
    strips: (one, [down, across]) => {
      const columns = map(one.columns, cell(across, one.columns.count));
      return { found: mean(columns, map(one.rows, cell(down, one.rows.count))), apart: true, text: pair("said_strips") };
    },
    matrix: (one) => ({ found: map(one.matrix), apart: true, text: pair("said_matrix") }),
    covariance: (one) => ({ found: map(one.covariance), apart: true, text: pair("said_covariance", { count: one.covariance.shape[0] }) }),
    channel: (one) => {
      const found = map(one.channel);
      return { found, apart: true, range: one.channel.drawn, text: pair("said_channel", gates(one.channel)) };
    },
  };
  const gates = (part) => ({ low: part.low.toFixed(2), high: part.high.toFixed(2), mean: part.mean.toFixed(2) });
  const seen = (one, where) => {
    const shown = views[one.view](one, where);
    if (one.channel && one.view !== "channel") shown.text = join(shown.text, pair("said_channel_too", gates(one.channel)));
    return shown;
  };

  const show = () => {
    const shown = data.places.map((one) => seen(one, point));
    shown.forEach((one, k) => {
      const tile = tiles[k];
      const view = tile.querySelector(".view");
      view.classList.toggle("on-photo", !one.apart);
      view.classList.toggle("gate", !one.marks);
      draw(tile.querySelector("canvas"), one.found, one.range, one.apart);
      if (one.marks) mark(view, one.found);
      if (!one.apart) put(view, ...point);
      write(tile.querySelector(".caption"), one.text);
    });
    const large = shown[place];
    canvas.hidden = Boolean(large.apart);
    stage.classList.toggle("gate", !large.marks);
    canvas.parentElement.classList.toggle("empty", canvas.hidden);
    for (const old of stage.querySelectorAll(".source")) old.remove();
    if (!large.apart) draw(canvas, large.found, large.range);
    if (large.marks) mark(stage, large.found, (value) => weight(data.places[place], value));
    put(stage, ...point);
    const { y, x } = pixel(point);
    write(said, pair("read_out", { y, x, place: data.places[place].name, said: large.text }));
    stage.dataset.y = y;
    stage.dataset.x = x;
  };

  // The pointer previews; a press or a key keeps.
  let waiting = 0;
  const soon = () => { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; show(); }); };
  const follow = (over, enabled = () => true) => {
    over.addEventListener("pointermove", (event) => {
      if (!enabled()) return;
      point = share(event, over);
      if (event.buttons) kept = point;
      soon();
    });
    over.addEventListener("pointerleave", () => { point = kept; soon(); });
  };
  follow(stage);
  stage.addEventListener("pointerdown", (event) => { kept = point = share(event, stage); soon(); });
  tiles.forEach((tile, k) => {
    const view = tile.querySelector(".view");
    follow(view, () => view.classList.contains("on-photo"));
    tile.addEventListener("click", (event) => {
      if (event.detail && view.classList.contains("on-photo") && view.contains(event.target)) kept = point = share(event, view);
      choose(k);
    });
  });
  const choose = (number) => {
    place = number;
    tiles.forEach((tile, k) => tile.setAttribute("aria-pressed", k === place));
    show();
  };

  // One cell of the finest stored grid a key, five with shift.
  const grids = data.places.map((one) => (one.weights && !one.shared ? one.weights.queries : one.spatial ? one.spatial.shape : [0, 0]));
  const fine = [0, 1].map((axis) => Math.min(64, Math.max(8, ...grids.map((one) => one[axis]))));
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    if (event.key in moves) {
      event.preventDefault();
      const far = event.shiftKey ? 5 : 1;
      kept = point = kept.map((at, axis) => {
        const next = cell(at, fine[axis]) + far * moves[event.key][axis];
        return (Math.min(fine[axis] - 1, Math.max(0, next)) + 0.5) / fine[axis];
      });
      show();
    } else if (event.key.toLowerCase() === "p" && !event.ctrlKey && !event.metaKey) pin();
  });
  document.getElementById("opacity").addEventListener("input", (event) => {
    stage.querySelector(".veil").style.opacity = event.target.value / 100;
  });
  for (const button of document.querySelectorAll("#asked button")) {
    button.addEventListener("click", () => {
      kept = point = [(Number(button.dataset.y) + 0.5) / data.size[0], (Number(button.dataset.x) + 0.5) / data.size[1]];
      show();
    });
  }

  // Pinned points, compared.
  const list = document.getElementById("pins");
  const note = document.getElementById("pins-note");
  const pin = () => {
    if (pins.length < MOST_PINS) pins.push(kept);
    compare();
  };
  const compare = () => {
    for (const old of stage.querySelectorAll(".pinned")) old.remove();
    list.replaceChildren(...pins.map((where, number) => {
      const spot = document.createElement("i");
      spot.className = "pinned";
      spot.textContent = number + 1;
      spot.style.cssText = `top:${100 * where[0]}%;left:${100 * where[1]}%`;
      stage.append(spot);
      return line(where, number);
    }));
    write(note, pins.length < 2 ? pair("nothing_pinned") : ["", ""]);
    note.nextElementSibling.hidden = pins.length < 2;
  };
  const line = (where, number) => {
    const element = document.createElement("div");
    element.className = "pinned-row";
    const who = document.createElement("div");
    who.className = "who";
    const label = document.createElement("span");
    const { y, x } = pixel(where);
    write(label, join([`${number + 1} · `, `${number + 1} · `], pair("point", { y, x })));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "×";
    remove.setAttribute("aria-label", pair("unpin", { number: number + 1 }).join(" / "));
    remove.addEventListener("click", () => { pins.splice(number, 1); compare(); });
    who.append(label, remove);
    const maps = document.createElement("div");
    maps.className = "maps";
    data.places.forEach((one) => {
      const shown = seen(one, where);
      if (shown.apart) return;
      const box = document.createElement("div");
      const view = document.createElement("span");
      view.className = shown.marks ? "view on-photo" : "view on-photo gate";
      view.append(document.createElement("canvas"));
      draw(view.firstChild, shown.found, shown.range);
      put(view, ...where);
      const caption = document.createElement("small");
      write(caption, join([one.name, one.name], overlaps(one, where, number)));
      box.append(view, caption);
      maps.append(box);
    });
    element.append(who, maps);
    return element;
  };
  const overlaps = (one, where, number) => {
    if (!one.weights || number === 0) return ["", ""];
    const own = row(one.weights, ...where, false);
    const parts = pins.slice(0, number).map((other, k) =>
      pair("shared_weight", { one: k + 1, other: number + 1, share: percent(1 - moved(row(one.weights, ...other, false), own)) }));
    return join([" · ", " · "], ...parts.flatMap((part, k) => (k ? [[", ", "，"], part] : [part])));
  };
  document.getElementById("pin").addEventListener("click", pin);

  choose(place);
  compare();
})();

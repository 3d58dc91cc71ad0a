// Attention from stored rows: which row belongs to a point, its strongest sources, and how it is drawn.
const attention = (settings) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const colours = { heat: bytes(settings.heat), clear: bytes(settings.clear), balance: bytes(settings.balance) };
  const cell = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));

  // Rows of stored numbers are decoded when the first is asked for.
  const decoded = (part) => {
    if (!part.numbers) {
      const raw = bytes(part.values);
      part.numbers = part.signed ? new Int8Array(raw.buffer) : raw;
      part.factors = floats(part.scales);
      part.exactly = (part.exact || []).map((one) => ({ ...one, row: floats(one.row) }));
    }
    return part;
  };
  const stored = (part, index, length) => {
    const { numbers, factors } = decoded(part);
    return Float32Array.from(numbers.subarray(index * length, (index + 1) * length), (n) => n * factors[index]);
  };

  // What the point (shares down and across the picture) attends to: {values, height, width, exact}.
  const row = (part, down, across, exactly = true) => {
    const here = [cell(down, part.size[0]), cell(across, part.size[1])];
    const found = exactly && decoded(part).exactly.find((one) => one.at[0] === here[0] && one.at[1] === here[1]);
    if (found) return { values: found.row, height: found.sources[0], width: found.sources[1], exact: true };
    const [height, width] = part.sources;
    const index = cell(down, part.queries[0]) * part.queries[1] + cell(across, part.queries[1]);
    return { values: stored(part, index, height * width), height, width, exact: false };
  };
  const map = (part, index = 0) => {
    const [height, width] = part.shape;
    return { values: stored(part, index, height * width), height, width };
  };

  const strongest = (found, count = settings.sources) => {
    const order = [...found.values.keys()].sort((a, b) => Math.abs(found.values[b]) - Math.abs(found.values[a]) || a - b);
    return order.slice(0, count).map((k) => ({
      weight: found.values[k], y: Math.floor(k / found.width), x: k % found.width,
    }));
  };
  const total = (found) => found.values.reduce((sum, weight) => sum + Math.abs(weight), 0);
  const limits = (found) => {
    let low = 0, high = 0, sum = 0;
    for (const weight of found.values) { low = Math.min(low, weight); high = Math.max(high, weight); sum += weight; }
    if (low < 0) return [-Math.max(-low, high), Math.max(-low, high)];
    return [0, Math.max(high, (settings.peak * sum) / found.values.length) || 1];
  };

  // One pixel a weight; the page enlarges it. `ground`: the colours have no transparency.
  const draw = (canvas, found, [low, high] = limits(found), ground = false) => {
    canvas.width = found.width;
    canvas.height = found.height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(found.width, found.height);
    const ramp = low < 0 ? colours.balance : ground ? colours.heat : colours.clear;
    found.values.forEach((value, k) => {
      const level = Math.min(255, Math.max(0, Math.round(((value - low) / (high - low || 1)) * 255)));
      picture.data.set(ramp.subarray(4 * level, 4 * level + 4), 4 * k);
      if (low < 0 && !ground) picture.data[4 * k + 3] = (225 * Math.abs(value)) / Math.max(-low, high || 1);
    });
    context.putImageData(picture, 0, 0);
    canvas.dataset.low = low;
    canvas.dataset.high = high;
  };

  // Frames round the strongest sources, over a picture; with their weights where `say` writes them.
  const mark = (over, found, say) => {
    for (const old of over.querySelectorAll(".source")) old.remove();
    for (const { weight, y, x } of strongest(found)) {
      const frame = document.createElement("i");
      frame.className = "source";
      frame.style.cssText = `top:${(100 * (y + 0.5)) / found.height}%;left:${(100 * (x + 0.5)) / found.width}%;` +
        `height:${100 / found.height}%;width:${100 / found.width}%`;
      if (say) {
        const label = document.createElement("b");
        label.textContent = say(weight);
        frame.append(label);
        over.append(frame);
        place(label, over);
      } else over.append(frame);
    }
  };
  // A label stands above its frame, or below where the picture ends or another label stands.
  const place = (label, over) => {
    const others = [...over.querySelectorAll(".source b")].filter((one) => one !== label).map((one) => one.getBoundingClientRect());
    const here = label.getBoundingClientRect();
    const hit = (one) => here.left < one.right && one.left < here.right && here.top < one.bottom && one.top < here.bottom;
    if (here.top < over.getBoundingClientRect().top || others.some(hit)) label.className = "below";
  };
  const put = (over, down, across) => {
    let ring = over.querySelector(".query");
    if (!ring) { ring = document.createElement("i"); ring.className = "query"; over.append(ring); }
    ring.style.cssText = `top:${100 * down}%;left:${100 * across}%`;
  };
  // The share of weight that two rows put at different places.
  const moved = (one, other) => {
    let apart = 0;
    for (let k = 0; k < one.values.length; k++) apart += Math.abs(one.values[k] - other.values[k]);
    return apart / (total(one) + total(other) || 1);
  };
  const share = (event, over) => {
    const box = over.getBoundingClientRect();
    const inside = (value) => Math.min(0.99999, Math.max(0, value));
    return [inside((event.clientY - box.top) / box.height), inside((event.clientX - box.left) / box.width)];
  };
  const percent = (value) => `${(100 * value).toFixed(value && Math.abs(value) < 0.0995 ? 1 : 0)}%`;
  return { row, map, strongest, draw, mark, put, moved, share, cell, limits, percent };
};

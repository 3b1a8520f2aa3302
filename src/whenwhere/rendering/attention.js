/**
 * Attention and boxes of one explanation, looked up in time and drawn over a picture. What one moment costs does not
 * depend on how long the video is. Returns { valuesAt, boxesAt, masksAsLists, drawOn, draw }; times are seconds after
 * the first frame.
 */
function attentionView(view, heatColors, canvas) {
  const { explanation, masks, maskLow, maskSpan } = view;
  const { times } = explanation;
  const [, rows, columns] = masks.shape;
  const cells = rows * columns;
  const coded = Uint8Array.from(atob(masks.data), (letter) => letter.charCodeAt(0));
  const cellValue = (index) => masks.low + masks.step * coded[index];

  function nearestFrame(time) {
    const before = indexBefore(times, time);
    const after = Math.min(before + 1, times.length - 1);
    return times[after] - time < time - times[before] ? after : before;
  }

  const values = new Float32Array(cells);

  /** Attention at `time` relative to the clip: one value in [0, 1] a cell, row by row, linear between frames. */
  function valuesAt(time) {
    const before = indexBefore(times, time);
    const after = Math.min(before + 1, times.length - 1);
    const gap = times[after] - times[before];
    const share = gap > 0 ? clamp((time - times[before]) / gap, 0, 1) : 0;
    for (let i = 0; i < cells; i += 1) {
      const between = (1 - share) * cellValue(before * cells + i) + share * cellValue(after * cells + i);
      values[i] = clamp((between - maskLow) / maskSpan, 0, 1);
    }
    return values;
  }

  const boxesOf = new Map();
  for (const box of explanation.boxes) {
    const frame = nearestFrame(box.time);
    if (!boxesOf.has(frame)) boxesOf.set(frame, []);
    boxesOf.get(frame).push(box);
  }
  const boxesAt = (time) => boxesOf.get(nearestFrame(time)) || [];

  /** The masks as the explanation's file has them: (T, H, W). */
  const masksAsLists = () => times.map((_, t) => Array.from({ length: rows }, (_, y) => (
    Array.from({ length: columns }, (_, x) => Number(cellValue(t * cells + y * columns + x).toFixed(4))))));

  // Values are interpolated before they are coloured; interpolated colours would pass through hues
  // that mean nothing. The canvas then only has to smooth a picture that is already smooth.
  const finer = clamp(Math.floor(384 / Math.max(rows, columns)), 1, 12);
  const heat = document.createElement("canvas");
  heat.width = columns * finer;
  heat.height = rows * finer;
  const heatContext = heat.getContext("2d");
  const heatImage = heatContext.createImageData(heat.width, heat.height);

  /** For each fine position the four nearest cells and their cubic (Catmull-Rom) weights, one after the other. */
  function cubicTaps(count) {
    const kernel = (x) => {
      const d = Math.abs(x);
      if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
      return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
    };
    const taps = { cells: new Int32Array(4 * count * finer), weights: new Float32Array(4 * count * finer) };
    for (let i = 0; i < count * finer; i += 1) {
      const position = (i + 0.5) / finer - 0.5;
      const first = Math.floor(position) - 1;
      for (let k = 0; k < 4; k += 1) {
        taps.cells[4 * i + k] = clamp(first + k, 0, count - 1);
        taps.weights[4 * i + k] = kernel(position - first - k);
      }
    }
    return taps;
  }
  const tapsX = cubicTaps(columns);
  const tapsY = cubicTaps(rows);
  const wide = new Float32Array(rows * heat.width);
  const heatPixels = new Uint32Array(heatImage.data.buffer);

  /** Colour and opacity of each of 256 values, as the bytes of a pixel. */
  function heatTable(opacity) {
    const table = new Uint8ClampedArray(4 * 256);
    heatColors.forEach((color, value) => table.set([...color, Math.round(value * opacity)], 4 * value));
    return new Uint32Array(table.buffer);
  }
  let [table, tableOpacity] = [heatTable(1), 1];

  function paintHeat(mask, opacity) {
    if (opacity !== tableOpacity) [table, tableOpacity] = [heatTable(opacity), opacity];
    const { width, height } = heat;
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < width; x += 1) {
        let value = 0;
        for (let k = 4 * x; k < 4 * x + 4; k += 1) value += tapsX.weights[k] * mask[y * columns + tapsX.cells[k]];
        wide[y * width + x] = value;
      }
    }
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        let value = 0;
        for (let k = 4 * y; k < 4 * y + 4; k += 1) value += tapsY.weights[k] * wide[tapsY.cells[k] * width + x];
        heatPixels[y * width + x] = table[Math.round(255 * clamp(value, 0, 1))];
      }
    }
    heatContext.putImageData(heatImage, 0, 0);
  }

  function drawBox(context, box, scaleX, scaleY, pixel) {
    const { width: right, height: bottom } = context.canvas;
    const edge = 2 * pixel;  // a box that leaves the picture is closed at the border
    const x = clamp(box.x0 * scaleX, edge, right - edge);
    const y = clamp(box.y0 * scaleY, edge, bottom - edge);
    const width = clamp(box.x1 * scaleX, edge, right - edge) - x;
    const height = clamp(box.y1 * scaleY, edge, bottom - edge) - y;
    for (const [style, line] of [["#000", 4], ["#56dcff", 2]]) {
      context.strokeStyle = style;
      context.lineWidth = line * pixel;
      context.strokeRect(x, y, width, height);
    }
    const text = `${box.label} ${box.score.toFixed(2)}`;
    const size = 13 * pixel;
    context.font = `${size}px system-ui, "DejaVu Sans", sans-serif`;
    context.textBaseline = "middle";
    const textWidth = context.measureText(text).width + 8 * pixel;
    const left = clamp(x - pixel, 0, Math.max(right - textWidth, 0));
    const top = y >= 1.5 * size ? y - 1.5 * size : y;
    context.fillStyle = "#000";
    context.fillRect(left, top, textWidth, 1.5 * size);
    context.fillStyle = "#56dcff";
    context.fillText(text, left + 4 * pixel, top + 0.78 * size);
  }

  /** Draw over whatever the context holds, which is a whole frame; `pixel` is how many of its pixels make a CSS one. */
  function drawOn(context, time, { mask, boxes, opacity }, pixel) {
    const { width, height } = context.canvas;
    const [scaleX, scaleY] = [width / explanation.width, height / explanation.height];
    if (mask) {
      paintHeat(valuesAt(time), opacity);
      const [x0, y0, x1, y1] = explanation.mask_area;
      context.imageSmoothingQuality = "high";
      context.drawImage(heat, x0 * scaleX, y0 * scaleY, (x1 - x0) * scaleX, (y1 - y0) * scaleY);
    }
    if (boxes) for (const box of boxesAt(time)) drawBox(context, box, scaleX, scaleY, pixel);
  }

  /** Redraw the canvas over the video, at the resolution of the screen. */
  function draw(time, shown) {
    const context = fitted(canvas);
    context.clearRect(0, 0, canvas.width, canvas.height);
    drawOn(context, time, shown, window.devicePixelRatio || 1);
  }

  return { valuesAt, boxesAt, masksAsLists, drawOn, draw };
}

/** The context of a canvas that has as many pixels as the screen shows of it. */
function fitted(canvas) {
  const pixel = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * pixel);
  const height = Math.round(canvas.clientHeight * pixel);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

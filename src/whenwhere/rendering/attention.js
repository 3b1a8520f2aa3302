"use strict";

/**
 * Attention and boxes of one explanation, looked up in time and drawn on a canvas that covers the video.
 * Returns { maskAt, boxesAt, draw }; times are seconds after the first frame.
 */
function attentionView(data, canvas) {
  const { explanation } = data;
  const { times } = explanation;
  const context = canvas.getContext("2d");
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const rows = explanation.masks[0].length;
  const columns = explanation.masks[0][0].length;

  /** Index of the last sampled frame at or before `time`; 0 before the first. */
  function frameBefore(time) {
    let low = 0;
    let high = times.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (times[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function nearestFrame(time) {
    const before = frameBefore(time);
    const after = Math.min(before + 1, times.length - 1);
    return times[after] - time < time - times[before] ? after : before;
  }

  /** Attention at `time` relative to the clip: rows of values in [0, 1], linear between sampled frames. */
  function maskAt(time) {
    const before = frameBefore(time);
    const after = Math.min(before + 1, times.length - 1);
    const gap = times[after] - times[before];
    const share = gap > 0 ? clamp((time - times[before]) / gap, 0, 1) : 0;
    const [a, b] = [explanation.masks[before], explanation.masks[after]];
    return a.map((row, y) => row.map((value, x) => {
      const between = (1 - share) * value + share * b[y][x];
      return clamp((between - data.maskLow) / data.maskSpan, 0, 1);
    }));
  }

  const boxFrames = explanation.boxes.map((box) => nearestFrame(box.time));
  const boxesAt = (time) => {
    const frame = nearestFrame(time);
    return explanation.boxes.filter((_, i) => boxFrames[i] === frame);
  };

  // Values are interpolated before they are coloured; interpolated colours would pass through hues
  // that mean nothing. The canvas then only has to smooth a picture that is already smooth.
  const FINER = 12;
  const heat = document.createElement("canvas");
  heat.width = columns * FINER;
  heat.height = rows * FINER;
  const heatContext = heat.getContext("2d");
  const heatImage = heatContext.createImageData(heat.width, heat.height);

  /** For each fine position the four nearest cells and their cubic (Catmull-Rom) weights. */
  function cubicTaps(cells) {
    const kernel = (x) => {
      const d = Math.abs(x);
      if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
      return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
    };
    return Array.from({ length: cells * FINER }, (_, i) => {
      const position = (i + 0.5) / FINER - 0.5;
      const first = Math.floor(position) - 1;
      return [0, 1, 2, 3].map((k) => [clamp(first + k, 0, cells - 1), kernel(position - first - k)]);
    });
  }
  const tapsX = cubicTaps(columns);
  const tapsY = cubicTaps(rows);

  function paintHeat(mask, opacity) {
    const wide = mask.map((row) => tapsX.map((taps) => taps.reduce((sum, [x, weight]) => sum + weight * row[x], 0)));
    let at = 0;
    for (const taps of tapsY) {
      for (let x = 0; x < heat.width; x += 1) {
        let value = 0;
        for (const [y, weight] of taps) value += weight * wide[y][x];
        value = clamp(value, 0, 1);
        const color = data.heatColors[Math.round(255 * value)];
        heatImage.data.set(color, at);
        heatImage.data[at + 3] = Math.round(255 * value * opacity);
        at += 4;
      }
    }
    heatContext.putImageData(heatImage, 0, 0);
  }

  function drawBox(box, scaleX, scaleY, pixel) {
    const edge = 2 * pixel;  // a box that leaves the picture is closed at the border
    const x = clamp(box.x0 * scaleX, edge, canvas.width - edge);
    const y = clamp(box.y0 * scaleY, edge, canvas.height - edge);
    const width = clamp(box.x1 * scaleX, edge, canvas.width - edge) - x;
    const height = clamp(box.y1 * scaleY, edge, canvas.height - edge) - y;
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
    const left = clamp(x - pixel, 0, Math.max(canvas.width - textWidth, 0));
    const top = y >= 1.5 * size ? y - 1.5 * size : y;
    context.fillStyle = "#000";
    context.fillRect(left, top, textWidth, 1.5 * size);
    context.fillStyle = "#56dcff";
    context.fillText(text, left + 4 * pixel, top + 0.78 * size);
  }

  /** Redraw the canvas, at the resolution of the screen. */
  function draw(time, { mask, boxes, opacity }) {
    const pixel = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * pixel);
    const height = Math.round(canvas.clientHeight * pixel);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const [scaleX, scaleY] = [width / explanation.width, height / explanation.height];
    context.clearRect(0, 0, width, height);
    if (mask) {
      paintHeat(maskAt(time), opacity);
      const [x0, y0, x1, y1] = explanation.mask_area;
      context.imageSmoothingQuality = "high";
      context.drawImage(heat, x0 * scaleX, y0 * scaleY, (x1 - x0) * scaleX, (y1 - y0) * scaleY);
    }
    if (boxes) for (const box of boxesAt(time)) drawBox(box, scaleX, scaleY, pixel);
  }

  return { maskAt, boxesAt, draw };
}

/** What of a curve a window of `columns` pixels shows: [x, value] points, at most two for each pixel column. */
function curvePoints(times, values, from, to, columns) {
  const x = (index) => columns * (times[index] - from) / (to - from);
  const [first, last] = [indexBefore(times, from), Math.min(indexBefore(times, to) + 1, times.length - 1)];
  const points = [];
  if (last - first <= 2 * columns) {
    for (let i = first; i <= last; i += 1) points.push([x(i), values[i]]);
  } else {
    let low = first;
    let high = first;
    for (let i = first; i <= last; i += 1) {
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
      if (i === last || Math.floor(x(i + 1)) !== Math.floor(x(i))) {
        for (const index of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
          points.push([x(index), values[index]]);
        }
        low = i + 1;
        high = i + 1;
      }
    }
  }
  // Before the first and after the last frame nothing is known: the curve goes on level.
  if (first === 0) points.unshift([Math.min(points[0][0], 0) - 9, points[0][1]]);
  if (last === times.length - 1) points.push([Math.max(points[points.length - 1][0], columns) + 9, points[points.length - 1][1]]);
  return points;
}

const NARROW = 8;  // pixels; the least a segment is wide, so that it can be hit
const CROWD = 28;  // pixels; segments too narrow to tell apart are put together up to this width

/** Blocks { left, right, segments } in pixels for the segments, sorted by start, that lie in the window. */
function segmentBlocks(segments, from, to, columns) {
  const x = (time) => columns * (clamp(time, from, to) - from) / (to - from);
  const blocks = [];
  for (const segment of segments) {
    if (segment.start >= to) break;
    if (segment.end <= from) continue;
    const narrow = x(segment.end) - x(segment.start) <= NARROW;
    let left = narrow ? Math.min(x(segment.start), columns - NARROW) : x(segment.start);
    const right = narrow ? left + NARROW : x(segment.end);
    const last = blocks[blocks.length - 1];
    if (narrow && last && last.narrow && left < last.right) {
      if (left < last.left + CROWD || last.right > columns - NARROW) {
        last.segments.push(segment);
        last.right = Math.min(Math.max(last.right, right), columns);
        continue;
      }
      left = last.right;
    }
    blocks.push({ left, right: Math.max(right, left + NARROW), narrow, segments: [segment] });
  }
  return blocks;
}

/**
 * Importance and segments of every view over a window of time that can be narrowed and moved. Only what the window
 * shows is in the page. Calls `onSeek(seconds)` and `onChoose(segment)`.
 */
function makeTimeline(data, { onSeek, onChoose }) {
  const { duration } = data.views[0].explanation;
  const byId = (id) => document.getElementById(id);
  const tracks = byId("tracks");
  const shown = { from: 0, to: duration };
  const shortest = Math.min(duration, Math.max(20 * data.frameSeconds, duration / 1e5));
  const lanes = [];
  const rows = [];
  let time = 0;
  let inside = true;
  let chosen = null;

  const width = () => Math.max(tracks.clientWidth, 1);
  const span = () => shown.to - shown.from;

  function makeLane(view, number) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("preserveAspectRatio", "none");
    const lane = { svg, curves: [] };
    const { importance, weights } = view.explanation;
    const same = weights.every((value, i) => value === importance[i]);  // of what has no temporal attention of its own
    for (const [kind, closed] of same ? [["importance", true]] : [["importance", true], ["weights", false]]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      svg.append(path);
      const greatest = view.explanation[kind].reduce((a, b) => Math.max(a, b), 0);
      lane.curves.push({ path, closed, times: view.explanation.times, values: view.explanation[kind], greatest });
    }
    const scrubber = number ? element("div") : byId("scrubber");
    scrubber.classList.add("scrubber");
    scrubber.append(svg);
    if (data.views.length > 1) tracks.insertBefore(element("div", { className: "caption lane", textContent: view.name }), byId("rows"));
    tracks.insertBefore(scrubber, byId("rows"));
    const own = tracks.insertBefore(element("div"), byId("rows"));
    makeRows(own, "When", view.explanation.segments);
    bindScrubbing(scrubber);
    lanes.push(lane);
  }

  /** A row for each label that has segments, in the order of the colours: the predicted label comes first. */
  function makeRows(parent, caption, segments) {
    const sorted = [...segments].sort((a, b) => a.start - b.start);
    for (const label of Object.keys(data.labelColors)) {
      const own = sorted.filter((segment) => segment.label === label);
      if (!own.length) continue;
      const track = element("div", { className: "track" });
      parent.append(element("div", { className: "caption", textContent: `${caption}: ${label}` }), track);
      rows.push({ track, label, segments: own, isTruth: caption === "Truth", buttons: new Map() });
    }
  }

  function makeButton(row, block) {
    const [segment] = block.segments;
    const button = element("button", { type: "button", className: row.isTruth ? "segment truth" : "segment" }, element("span"));
    button.style.backgroundColor = data.labelColors[row.label];
    button.addEventListener("click", () => {
      if (button.block.segments.length === 1) return onChoose(segment);
      const last = button.block.segments[button.block.segments.length - 1];
      const margin = 0.05 * (last.end - segment.start);
      return show(segment.start - margin, last.end + margin);
    });
    row.track.append(button);
    return button;
  }

  function placeButton(row, button, block) {
    const [segment] = block.segments;
    const count = block.segments.length;
    const stretch = format.span(segment.start, block.segments[count - 1].end, duration);
    const named = row.isTruth ? `${segment.label}, ${stretch}` : `${segment.label}, ${stretch}, score ${segment.score.toFixed(2)}`;
    button.block = block;
    button.firstChild.textContent = count > 1 ? count : stretch;
    button.classList.toggle("crowd", count > 1);
    button.title = count > 1 ? `${count} segments, ${row.label}, ${stretch}` : named;
    button.setAttribute("aria-label", count > 1 ? `Zoom in on ${button.title}` : `Repeat ${row.isTruth ? "true " : ""}${named}`);
    if (count > 1) button.removeAttribute("aria-pressed");
    else button.setAttribute("aria-pressed", String(segment === chosen));
    button.style.left = `${block.left}px`;
    button.style.width = `${block.right - block.left}px`;
  }

  function drawRow(row) {
    const seen = new Map();
    for (const block of segmentBlocks(row.segments, shown.from, shown.to, width())) {
      const [key] = block.segments;  // a button stays the same while its segment is in view, and keeps the focus
      const button = row.buttons.get(key) || makeButton(row, block);
      placeButton(row, button, block);
      seen.set(key, button);
    }
    for (const [key, button] of row.buttons) if (!seen.has(key)) button.remove();
    row.buttons = seen;
  }

  function drawLane({ svg, curves }) {
    svg.setAttribute("viewBox", `0 0 ${width()} 100`);
    for (const { path, closed, times, values, greatest } of curves) {
      const points = curvePoints(times, values, shown.from, shown.to, width());
      const line = points.map(([x, value]) => `${x.toFixed(1)},${(98 - 92 * value / greatest).toFixed(1)}`).join("L");
      path.setAttribute("d", closed ? `M${points[0][0].toFixed(1)},109L${line}V109Z` : `M${line}`);
    }
  }

  function drawAxis() {
    const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
    const step = steps.find((size) => span() / size <= 6) || span() / 5;
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    const ticks = [];
    for (let i = Math.ceil(shown.from / step - 1e-6); i * step < shown.to - 0.6 * step; i += 1) {
      const text = duration < 120 ? (i * step).toFixed(digits) : format.time(i * step, duration, digits);
      const tick = element("span", { textContent: text });
      tick.style.left = `${100 * (i * step - shown.from) / span()}%`;
      if (i * step - shown.from < 0.03 * span()) tick.className = "first";
      ticks.push(tick);
    }
    const end = element("span", { textContent: format.time(shown.to, duration), className: "last" });
    end.style.left = "100%";
    byId("axis").replaceChildren(...ticks, end);
  }

  function drawWindow() {
    const whole = span() > duration * (1 - 1e-9);
    byId("extent").firstElementChild.style.left = `${100 * shown.from / duration}%`;
    byId("extent").firstElementChild.style.width = `${100 * span() / duration}%`;
    byId("zoom-in").disabled = span() <= shortest * (1 + 1e-9);
    for (const id of ["zoom-out", "zoom-all"]) byId(id).disabled = whole;
    byId("earlier").disabled = whole || shown.from <= 0;
    byId("later").disabled = whole || shown.to >= duration;
  }

  function redraw() {
    lanes.forEach(drawLane);
    rows.forEach(drawRow);
    drawAxis();
    drawWindow();
    placeCursor();
  }

  function placeCursor() {
    inside = time >= shown.from && time <= shown.to;
    const cursor = byId("cursor");
    cursor.hidden = !inside;
    cursor.style.left = `${100 * (time - shown.from) / span()}%`;
  }

  /** Show the window from `from` to `to` seconds, kept inside the video. */
  function show(from, to) {
    const length = clamp(to - from, shortest, duration);
    const start = clamp((from + to - length) / 2, 0, duration - length);
    Object.assign(shown, { from: start, to: start + length });
    redraw();
  }

  /** Magnify by `factor`; `around` (seconds) stays where it is. */
  function zoom(factor, around = inside ? time : (shown.from + shown.to) / 2) {
    const length = clamp(span() / factor, shortest, duration);
    const from = clamp(around - (around - shown.from) / span() * length, 0, duration - length);
    show(from, from + length);
  }

  /** Move the window by a share of its length. */
  function pan(share) {
    const from = clamp(shown.from + share * span(), 0, duration - span());
    show(from, from + span());
  }

  /** Seek by a share of the window's length. */
  const leap = (share) => onSeek(clamp(time + share * span(), 0, duration));

  /** Move the cursor. The window follows where the cursor runs out of it, or is sent out of it. */
  function setTime(seconds, sought) {
    const leaves = seconds < shown.from || seconds > shown.to;
    time = seconds;
    if (leaves && (sought || inside)) show(seconds - 0.1 * span(), seconds + 0.9 * span());
    else placeCursor();
  }

  function setChosen(segment) {
    chosen = segment;
    rows.forEach(drawRow);
  }

  const fingers = new Map(); // that touch a curve: where, in pixels of the page
  let pinched = false; // two did; what the last one does is no scrubbing
  let sideways = false; // a mouse, or a finger that went far enough to mean it

  function timeAt(clientX) {
    const { left, width: pixels } = tracks.getBoundingClientRect();
    return shown.from + span() * clamp((clientX - left) / pixels, 0, 1);
  }

  /** A finger that goes up or down scrolls the page, so a touch seeks once it goes sideways, or ends where it began. */
  function bindScrubbing(scrubber) {
    scrubber.addEventListener("pointerdown", (event) => {
      scrubber.setPointerCapture(event.pointerId);
      pinched = fingers.size > 0;
      sideways = event.pointerType !== "touch";
      if (sideways) onSeek(timeAt(event.clientX));
      else fingers.set(event.pointerId, event.clientX);
    });
    scrubber.addEventListener("pointermove", (event) => {
      if (!scrubber.hasPointerCapture(event.pointerId)) return;
      if (fingers.size === 2) return pinch(event);
      sideways ||= Math.abs(event.clientX - fingers.get(event.pointerId)) > 10;
      if (sideways && !pinched) onSeek(timeAt(event.clientX));
    });
    scrubber.addEventListener("pointerup", (event) => {
      if (fingers.delete(event.pointerId) && !pinched) onSeek(timeAt(event.clientX));
    });
    scrubber.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  }

  /** What lies under two fingers stays under them. */
  function pinch(event) {
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    const [apart, wider] = [before, after].map(([one, other]) => Math.max(Math.abs(one - other), 1));
    const [middle, moved] = [before, after].map(([one, other]) => (one + other) / 2);
    zoom(wider / apart, timeAt(middle));
    pan((middle - moved) / width());
  }

  /** Ctrl and wheel, or a pinch on a touchpad, magnifies; Shift and wheel, or a wheel to the side, moves. */
  function onWheel(event) {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-clamp(event.deltaY, -200, 200) / 200), timeAt(event.clientX));
    else if (Math.abs(sideways) > (event.shiftKey ? 0 : Math.abs(event.deltaY)) && span() < duration) pan(sideways / width());
    else return;
    event.preventDefault();
  }

  data.views.forEach(makeLane);
  makeRows(byId("rows"), "Truth", data.truth);
  tracks.addEventListener("wheel", onWheel, { passive: false });
  byId("zoom-in").addEventListener("click", () => zoom(2));
  byId("zoom-out").addEventListener("click", () => zoom(0.5));
  byId("zoom-all").addEventListener("click", () => show(0, duration));
  byId("earlier").addEventListener("click", () => pan(-0.5));
  byId("later").addEventListener("click", () => pan(0.5));
  new ResizeObserver(redraw).observe(tracks);
  redraw();
  return { shown, show, zoom, pan, leap, setTime, setChosen };
}

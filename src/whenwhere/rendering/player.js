"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { explanation, frameSeconds, videoOffset } = data;
  const { times, duration } = explanation;
  const byId = (id) => document.getElementById(id);
  const video = byId("video");
  const canvas = byId("canvas");
  const view = attentionView(data, canvas);
  const state = { mask: true, boxes: true, opacity: 0.7, loop: null, time: 0 };

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const seconds = (value, digits = 1) => `${value.toFixed(digits)} s`;
  const percent = (value) => `${Math.round(100 * value)} %`;

  /** Draw the page as it should look at `time` seconds after the first frame. */
  function render(time) {
    state.time = clamp(time, 0, duration);
    view.draw(state.time, state);
    byId("cursor").style.left = `${100 * state.time / duration}%`;
    byId("clock").textContent = `${state.time.toFixed(2)} / ${seconds(duration, 2)}`;
    const scrubber = byId("scrubber");
    scrubber.setAttribute("aria-valuenow", state.time.toFixed(2));
    scrubber.setAttribute("aria-valuetext", seconds(state.time, 2));
  }

  // ---- Playback ------------------------------------------------------------------------------

  const videoTime = () => video.currentTime - videoOffset;

  function seek(time) {
    video.currentTime = clamp(time, 0, duration) + videoOffset;
    render(time);
  }

  function play() {
    if (video.ended || videoTime() >= duration - frameSeconds / 2) seek(state.loop ? state.loop.start : 0);
    video.play().catch((error) => {
      if (error.name !== "AbortError") showError();  // a pause before playing began is not an error
    });
  }

  const togglePlay = () => (video.paused ? play() : video.pause());

  function stepFrames(count) {
    video.pause();
    const frame = Math.floor(videoTime() / frameSeconds + 1e-3) + count;
    seek((Math.max(frame, 0) + 0.5) * frameSeconds);  // half-way, where rounding cannot reach a neighbour
  }

  function setLoop(segment) {
    state.loop = segment;
    for (const button of document.querySelectorAll(".segment")) {
      button.setAttribute("aria-pressed", String(button.segment === segment));
    }
    const unloop = byId("unloop");
    unloop.hidden = !segment;
    if (segment) unloop.textContent = `Repeating ${segment.start.toFixed(1)}–${seconds(segment.end)}  ✕`;
  }

  function chooseSegment(segment) {
    if (state.loop === segment) return togglePlay();
    setLoop(segment);
    seek(segment.start);
    return play();
  }

  function onFrame(time) {
    if (state.loop && !video.paused && time >= state.loop.end - frameSeconds / 2) seek(state.loop.start);
    else render(time);
  }

  function followFrames() {
    if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
      // The frame on show, not the clock: the two differ by up to a frame.
      const next = (_, frame) => {
        onFrame(frame.mediaTime - videoOffset);
        video.requestVideoFrameCallback(next);
      };
      video.requestVideoFrameCallback(next);
    } else {
      const next = () => {
        if (!video.paused) onFrame(videoTime());
        window.requestAnimationFrame(next);
      };
      window.requestAnimationFrame(next);
    }
    video.addEventListener("seeked", () => render(videoTime()));
    video.addEventListener("ended", () => state.loop && play());
    for (const event of ["play", "pause", "ended"]) video.addEventListener(event, showPlayState);
    video.addEventListener("loadedmetadata", keepShape);
    if (video.readyState > 0) keepShape();
    video.addEventListener("error", showError);
    if (video.error) showError();
  }

  /** The shape a player gives the picture: pixels in the file need not be square. */
  function keepShape() {
    const { style } = video.parentElement;
    style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
    style.setProperty("--ratio", video.videoWidth / video.videoHeight);
  }

  function showPlayState() {
    const label = video.paused ? "Play" : "Pause";
    byId("play").textContent = label;
    byId("play").setAttribute("aria-label", label);
  }

  function showError() {
    byId("error").textContent = "This browser cannot play the video. Attention and boxes are shown without it.";
    byId("error").hidden = false;
  }

  // ---- The parts of the page that never change ---------------------------------------------

  function buildCurves() {
    const svg = byId("curves");
    const add = (kind, values, closed) => {
      const greatest = Math.max(...values);
      const points = times.map((time, i) => [1000 * time / duration, 98 - 92 * values[i] / greatest]);
      const line = [[-9, points[0][1]], ...points, [1009, points[points.length - 1][1]]];
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      path.setAttribute("d", `M${line.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}`
        + (closed ? "V109H-9Z" : ""));
      svg.append(path);
    };
    add("importance", explanation.importance, true);
    add("weights", explanation.weights, false);
  }

  function buildSegmentRow(caption, segments, isTruth) {
    const title = document.createElement("div");
    title.className = "caption";
    title.textContent = caption;
    const track = document.createElement("div");
    track.className = "track";
    for (const segment of segments) {
      const button = document.createElement("button");
      const span = `${segment.start.toFixed(1)}–${seconds(segment.end)}`;
      button.type = "button";
      button.className = isTruth ? "segment truth" : "segment";
      button.segment = segment;
      button.append(Object.assign(document.createElement("span"), { textContent: span }));
      button.title = isTruth ? `${segment.label}, ${span}` : `${segment.label}, ${span}, score ${segment.score.toFixed(2)}`;
      button.setAttribute("aria-label", `Repeat ${isTruth ? "true " : ""}${button.title}`);
      button.setAttribute("aria-pressed", "false");
      button.style.left = `${100 * segment.start / duration}%`;
      button.style.width = `${100 * (Math.min(segment.end, duration) - segment.start) / duration}%`;
      button.style.backgroundColor = data.labelColors[segment.label];
      button.addEventListener("click", () => chooseSegment(segment));
      track.append(button);
    }
    byId("rows").append(title, track);
  }

  function buildRows() {
    for (const [caption, segments] of [["When", explanation.segments], ["Truth", data.truth]]) {
      for (const label of Object.keys(data.labelColors)) {  // the predicted label comes first
        const own = segments.filter((segment) => segment.label === label);
        if (own.length) buildSegmentRow(`${caption}: ${label}`, own, caption === "Truth");
      }
    }
  }

  function buildAxis() {
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((size) => duration / size <= 6)
      || duration / 5;
    const digits = step < 1 ? 1 : 0;
    const add = (time, text) => {
      const tick = document.createElement("span");
      tick.textContent = text;
      tick.style.left = `${100 * time / duration}%`;
      byId("axis").append(tick);
      return tick;
    };
    for (let i = 0; i * step < duration - 0.6 * step; i += 1) add(i * step, (i * step).toFixed(digits));
    add(duration, seconds(duration, 1)).className = "last";
  }

  function buildLabels() {
    for (const [name, probability] of explanation.labels.slice(0, 5)) {
      const item = document.createElement("li");
      const line = document.createElement("div");
      for (const text of [name, percent(probability)]) {
        line.append(Object.assign(document.createElement("span"), { textContent: text }));
      }
      const bar = Object.assign(document.createElement("div"), { className: "bar" });
      const length = document.createElement("i");
      length.style.width = `${100 * probability}%`;
      bar.append(length);
      item.append(line, bar);
      byId("labels").append(item);
    }
    const stops = data.heatColors.filter((_, i) => i % 15 === 0).map(([r, g, b], i) => `rgb(${r} ${g} ${b} / ${i / 17})`);
    byId("legend").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    byId("flat").hidden = !data.flat;
  }

  // ---- Controls ------------------------------------------------------------------------------

  function setShown(kind, shown) {
    state[kind] = shown;
    byId(`show-${kind}`).checked = shown;
    render(state.time);
  }

  function bindControls() {
    byId("play").addEventListener("click", togglePlay);
    byId("back").addEventListener("click", () => stepFrames(-1));
    byId("forward").addEventListener("click", () => stepFrames(1));
    byId("unloop").addEventListener("click", () => setLoop(null));
    byId("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
    for (const kind of ["mask", "boxes"]) {
      byId(`show-${kind}`).addEventListener("change", (event) => setShown(kind, event.target.checked));
    }
    byId("opacity").addEventListener("input", (event) => {
      state.opacity = Number(event.target.value);
      render(state.time);
    });
    const scrubber = byId("scrubber");
    const seekTo = (event) => {
      const { left, width } = scrubber.getBoundingClientRect();
      setLoop(null);
      seek(duration * (event.clientX - left) / width);
    };
    scrubber.addEventListener("pointerdown", (event) => {
      scrubber.setPointerCapture(event.pointerId);
      seekTo(event);
    });
    scrubber.addEventListener("pointermove", (event) => {
      if (scrubber.hasPointerCapture(event.pointerId)) seekTo(event);
    });
  }

  function bindKeys() {
    const actions = {
      " ": togglePlay,
      ArrowLeft: () => stepFrames(-1),
      ArrowRight: () => stepFrames(1),
      Home: () => seek(0),
      End: () => seek(duration - frameSeconds / 2),
      Escape: () => setLoop(null),
      m: () => setShown("mask", !state.mask),
      b: () => setShown("boxes", !state.boxes),
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      // Keys that the focused control itself understands stay its own.
      const own = { BUTTON: [" "], INPUT: event.target.type === "range" ? ["ArrowLeft", "ArrowRight", "Home", "End"] : [" "] };
      if (event.target.tagName === "SELECT" || (own[event.target.tagName] || []).includes(key) || !actions[key]) return;
      event.preventDefault();
      actions[key]();
    });
  }

  byId("scrubber").setAttribute("aria-valuemax", duration.toFixed(2));
  buildCurves();
  buildRows();
  buildAxis();
  buildLabels();
  bindControls();
  bindKeys();
  followFrames();
  new ResizeObserver(() => render(state.time)).observe(canvas);
  render(0);
  window.whenwhere = { explanation, video, canvas, state, seek, render, ...view };
})();

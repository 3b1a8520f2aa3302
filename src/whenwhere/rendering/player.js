(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { frameSeconds, frameTimes, videoOffset } = data;
  const { duration } = data.views[0].explanation;
  const byId = (id) => document.getElementById(id);
  const video = byId("video");
  const state = { opacity: 0.7, loop: null, time: 0, frameTime: 0 };  // the clock, and the start of the frame on show
  const comparing = data.views.length > 1;

  // The small shares forgive what files and browsers round off.
  const frameAt = (time) => (frameTimes ? indexBefore(frameTimes, time + 5e-4) : Math.floor(time / frameSeconds + 0.06));
  const frameStart = (frame) => (frameTimes ? frameTimes[frame] : frame * frameSeconds);
  const lastFrame = Math.max(frameAt(duration - frameSeconds / 2), frameTimes ? frameTimes.length - 1 : 0);

  // ---- Panes: the video with what one explanation says over it ---------------------------------

  /** The first pane holds the video itself, the others a copy of the frame it shows. */
  function makePane(view, number) {
    const figure = number ? byId("stages").appendChild(element("figure", { className: "pane" })) : document.querySelector(".pane");
    const pane = { data: view, shown: { mask: true, boxes: true }, onScreen: true, checks: {} };
    if (number) {
      pane.copy = element("canvas", { className: "copy" });
      pane.copy.setAttribute("role", "img");
      pane.copy.setAttribute("aria-label", `The same video, with what ${view.name} says`);
      pane.canvas = element("canvas");
      pane.canvas.setAttribute("aria-hidden", "true");
      const stage = element("div", { className: "stage" }, pane.copy, pane.canvas);
      stage.style.cssText = document.querySelector(".stage").style.cssText;
      figure.append(stage);
    } else pane.canvas = byId("canvas");
    pane.attention = attentionView(view, data.heatColors, pane.canvas);
    if (comparing) {
      const toggles = element("div", { className: "options" });
      const told = `${view.explanation.labels[0][0]}, ${format.percent(view.explanation.labels[0][1])}`;
      figure.append(element("figcaption", {}, element("h2", { textContent: view.name }), element("p", { textContent: told }), toggles));
      makeToggles(pane, toggles, number);
    } else makeToggles(pane, byId("toggles"), 0);
    // What is scrolled out of sight is not drawn.
    new IntersectionObserver(([entry]) => {
      pane.onScreen = entry.isIntersecting;
      if (pane.onScreen) drawPane(pane);
    }).observe(pane.canvas);
    return pane;
  }

  function makeToggles(pane, parent, number) {
    for (const [kind, text, key] of [["mask", comparing ? "Heat map" : "Attention", "m"], ["boxes", "Boxes", "b"]]) {
      const check = element("input", { id: `show-${kind}${number ? `-${number + 1}` : ""}`, type: "checkbox", checked: true });
      check.addEventListener("change", () => setShown(pane, kind, check.checked));
      pane.checks[kind] = check;
      const label = element("label", {}, check, ` ${text} `, element("kbd", { textContent: key, ariaHidden: "true" }));
      if (comparing) check.setAttribute("aria-label", `${text}, ${pane.data.name}`);
      parent.append(label);
    }
  }

  function setShown(pane, kind, shown) {
    pane.shown[kind] = shown;
    pane.checks[kind].checked = shown;
    drawPane(pane);
  }

  /** A key switches every pane alike. */
  function toggleAll(kind) {
    const shown = !panes[0].shown[kind];
    for (const pane of panes) setShown(pane, kind, shown);
  }

  function drawPane(pane) {
    if (!pane.onScreen) return;
    if (pane.copy) {
      const context = fitted(pane.copy);
      context.drawImage(video, 0, 0, pane.copy.width, pane.copy.height);
    }
    pane.attention.draw(state.frameTime, { ...pane.shown, opacity: state.opacity });
  }

  /** Draw the page as it should look at `time` seconds after the first frame. */
  function render(time, sought = false) {
    state.time = clamp(time, 0, duration);
    state.frameTime = frameStart(Math.min(frameAt(state.time), lastFrame));
    panes.forEach(drawPane);
    timeline.setTime(state.time, sought);
    const clock = duration < 120 ? state.time.toFixed(2) : format.time(state.time, duration);
    byId("clock").textContent = `${clock} / ${format.time(duration, duration, duration < 120 ? 2 : 1)}`;
    const scrubber = byId("scrubber");
    scrubber.setAttribute("aria-valuenow", state.time.toFixed(2));
    scrubber.setAttribute("aria-valuetext", format.time(state.time, duration, 2));
  }

  // ---- Playback ------------------------------------------------------------------------------

  const broken = () => byId("play").disabled;
  const videoTime = () => (broken() ? state.time : video.currentTime - videoOffset);

  function seek(time) {
    video.currentTime = clamp(time, 0, duration) + videoOffset;
    render(time, true);
  }

  function play() {
    if (video.ended || videoTime() >= duration - frameSeconds / 2) seek(state.loop ? state.loop.start : 0);
    video.play().catch((error) => {
      if (error.name !== "AbortError") showError();  // a pause before playing began is not an error
    });
  }

  const togglePlay = () => broken() || (video.paused ? play() : video.pause());

  /** Seek to half-way through a frame, where rounding cannot reach a neighbour. */
  function seekFrame(frame) {
    const number = clamp(frame, 0, lastFrame);
    seek((frameStart(number) + (number < lastFrame ? frameStart(number + 1) : duration)) / 2);
  }

  function stepFrames(count) {
    video.pause();
    seekFrame(frameAt(videoTime()) + count);
  }

  function setLoop(segment) {
    if (segment === state.loop) return;
    state.loop = segment;
    timeline.setChosen(segment);
    const unloop = byId("unloop");
    unloop.hidden = !segment;
    if (segment) unloop.textContent = `Repeating ${format.span(segment.start, segment.end, duration)}  ✕`;
  }

  function chooseSegment(segment) {
    if (broken()) return seek(segment.start);
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
    video.addEventListener("loadeddata", () => panes.forEach(drawPane));
    if (video.readyState > 0) keepShape();
    video.addEventListener("error", showError);
    if (video.error) showError();
  }

  /** The shape a player gives the picture: pixels in the file need not be square. */
  function keepShape() {
    for (const { style } of document.querySelectorAll(".stage")) {
      style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
      style.setProperty("--ratio", video.videoWidth / video.videoHeight);
    }
  }

  function showPlayState() {
    const label = video.paused ? "Play" : "Pause";
    byId("play").textContent = label;
    byId("play").setAttribute("aria-label", label);
  }

  function showError() {
    byId("error").textContent = "This browser cannot play the video. Attention and boxes are shown without it.";
    byId("error").hidden = false;
    for (const id of ["play", "speed"]) byId(id).disabled = true;
  }

  // ---- The parts of the page that never change ---------------------------------------------

  function buildLabels({ name, explanation }) {
    if (comparing) byId("labels").append(element("h3", { textContent: name }));
    const list = element("ol", { className: "labels" });
    for (const [label, probability] of explanation.labels.slice(0, 5)) {
      const length = element("i");
      length.style.width = `${100 * probability}%`;
      const texts = [label, format.percent(probability)].map((text) => element("span", { textContent: text }));
      list.append(element("li", {}, element("div", {}, ...texts), element("div", { className: "bar" }, length)));
    }
    byId("labels").append(list);
  }

  function buildLegend() {
    const stops = data.heatColors.filter((_, i) => i % 15 === 0).map(([r, g, b], i) => `rgb(${r} ${g} ${b} / ${i / 17})`);
    byId("legend").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    const flat = data.views.filter((view) => view.flat);
    byId("flat").hidden = !flat.length;
    if (comparing) byId("flat").prepend(`${flat.map((view) => view.name).join(", ")}: `);
  }

  // ---- Controls ------------------------------------------------------------------------------

  function bindControls() {
    byId("play").addEventListener("click", togglePlay);
    byId("back").addEventListener("click", () => stepFrames(-1));
    byId("forward").addEventListener("click", () => stepFrames(1));
    byId("unloop").addEventListener("click", () => setLoop(null));
    byId("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
    byId("opacity").addEventListener("input", (event) => {
      state.opacity = Number(event.target.value);
      panes.forEach(drawPane);
    });
  }

  function bindKeys() {
    const actions = {
      " ": togglePlay,
      ArrowLeft: () => stepFrames(-1),
      ArrowRight: () => stepFrames(1),
      Home: () => seek(0),
      End: () => seekFrame(lastFrame),
      Escape: () => setLoop(null),
      m: () => toggleAll("mask"),
      b: () => toggleAll("boxes"),
      "+": () => timeline.zoom(2),
      "=": () => timeline.zoom(2),  // the same key without Shift
      "-": () => timeline.zoom(0.5),
      0: () => timeline.show(0, duration),
    };
    const sliding = {
      ArrowUp: actions.ArrowRight,
      ArrowDown: actions.ArrowLeft,
      PageUp: () => timeline.leap(0.1),
      PageDown: () => timeline.leap(-0.1),
    };
    const shifted = { ArrowLeft: () => timeline.pan(-0.5), ArrowRight: () => timeline.pan(0.5) };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      // Keys that the focused control itself understands stay its own.
      const own = { BUTTON: [" "], INPUT: event.target.type === "range" ? ["ArrowLeft", "ArrowRight", "Home", "End"] : [" "] };
      const action = (event.shiftKey && shifted[key]) || (event.target.role === "slider" && sliding[key]) || actions[key];
      if (event.target.tagName === "SELECT" || (own[event.target.tagName] || []).includes(key) || !action) return;
      event.preventDefault();
      action();
    });
  }

  byId("scrubber").setAttribute("aria-valuemax", duration.toFixed(2));
  document.querySelector("main").classList.toggle("comparison", comparing);
  const timeline = makeTimeline(data, {
    onSeek: (time) => {
      setLoop(null);
      seek(time);
    },
    onChoose: chooseSegment,
  });
  const panes = data.views.map(makePane);
  data.views.forEach(buildLabels);
  buildLegend();
  const downloads = makeDownloads(data, panes, video, state);
  bindControls();
  bindKeys();
  followFrames();
  new ResizeObserver(() => panes.forEach(drawPane)).observe(byId("stages"));
  render(0);
  window.whenwhere = { data, video, panes, canvas: panes[0].canvas, state, seek, render, timeline, downloads };
})();

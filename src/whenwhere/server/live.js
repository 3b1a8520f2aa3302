(() => {
  const byId = (id) => document.getElementById(id);
  const { heatColors } = JSON.parse(byId("data").textContent);
  const canvas = byId("canvas");
  const image = byId("frame");
  const shown = { mask: true, boxes: false, opacity: 0.7 };
  const live = { number: 0, state: "connecting", label: null, event: null, events: [] };
  let draw = () => {};

  const STATES = {
    connecting: "Connecting.",
    filling: "Filling the first window.",
    playing: "Live.",
    lost: "The source is lost; trying again.",
    ended: "The stream has ended.",
    unreachable: "The server does not answer; trying again.",
  };

  function setState(state) {
    if (state === live.state) return;
    live.state = state;
    byId("state").textContent = STATES[state];
    if (live.number === 0) byId("headline").textContent = STATES[state].replace(/\.$/, "");
    if (state !== "playing") byId("announce").textContent = STATES[state];
  }

  /** Draw the mask with the drawing code of the player, as a video of one frame. */
  function showMask({ mask, mask_area, width, height }) {
    const explanation = { times: [0], boxes: [], mask_area, width, height };
    const masks = { shape: [1, mask.rows, mask.columns], data: mask.data, low: 0, step: 1 / 255 };
    const view = attentionView({ explanation, masks, maskLow: 0, maskSpan: 1 }, heatColors, canvas);
    draw = () => view.draw(0, shown);
    draw();
  }

  function showLabels(labels) {
    const items = labels.map(([name, probability]) => {
      const length = element("i");
      length.style.width = `${100 * probability}%`;
      const line = element("div", {}, element("span", {}, name), element("span", {}, format.percent(probability)));
      return element("li", {}, line, element("div", { className: "bar" }, length));
    });
    byId("labels").replaceChildren(...items);
    const [[name, probability]] = labels;
    byId("headline").textContent = `${name} (${format.percent(probability)})`;
    document.title = `${name} – Live`;
    if (name !== live.label) byId("announce").textContent = name;  // not every change of a percent
    live.label = name;
  }

  function showImportance({ ages, importance }) {
    const span = ages[0] || 1;
    const greatest = Math.max(...importance);
    const points = ages.map((age, i) => [1000 * (1 - age / span), 98 - 92 * importance[i] / greatest]);
    const line = [[-9, points[0][1]], ...points, [1009, points[points.length - 1][1]]];
    byId("importance").setAttribute("d", `M${line.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}V109H-9Z`);
    byId("oldest").textContent = `−${span.toFixed(1)} s`;
  }

  async function showAnswer(answer) {
    // The picture is decoded first, so that it changes together with the mask that belongs to it.
    const next = new Image();
    next.src = `data:image/jpeg;base64,${answer.frame}`;
    await next.decode();
    if (answer.number < live.number) return;
    const { style } = byId("stage");
    style.setProperty("--aspect", `${answer.width} / ${answer.height}`);
    style.setProperty("--ratio", answer.width / answer.height);
    image.src = next.src;
    image.hidden = false;
    showMask(answer);
    showLabels(answer.labels);
    showImportance(answer);
    live.number = answer.number;
    if (answer.event !== live.event) {
      live.event = answer.event;
      showEvents();
    }
  }

  /** The event that goes on, and those that have ended, newest first. */
  function showEvents() {
    const open = live.event ? [element("li", {}, element("b", {}, live.event), element("span", {}, "goes on"))] : [];
    byId("no-events").hidden = open.length + live.events.length > 0;
    byId("events").replaceChildren(...open, ...live.events.slice(0, 8).map((event) => {
      const clock = new Date(event.start_utc).toLocaleTimeString();
      const said = `${clock}, ${format.seconds(event.end - event.start)}, ${format.percent(event.score)}`;
      return element("li", {}, element("span", {}, event.label), element("span", {}, said));
    }));
  }

  function showStatus(status) {
    setState(status.state);
    byId("looked-at").textContent = status.looked_at;
    byId("dropped").textContent = status.dropped;
    byId("skipped").textContent = status.skipped;
    byId("not-decoded").hidden = status.skipped === 0;
    byId("reconnections").textContent = status.reconnections;
    byId("latency").textContent = status.latency_p95 === null ? "–" : `${Math.round(1000 * status.latency_p95)} ms`;
    live.events = status.events;
    if (status.state !== "playing") live.event = null;
    showEvents();
  }

  function listen() {
    const stream = new EventSource("/live/events");
    stream.addEventListener("answer", (message) => showAnswer(JSON.parse(message.data)));
    stream.addEventListener("status", (message) => {
      const status = JSON.parse(message.data);
      showStatus(status);
      if (status.state === "ended") stream.close();
    });
    stream.addEventListener("error", () => {
      if (live.state === "ended") return;
      setState("unreachable");
      if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);  // after a refusal it gives up by itself
    });
  }

  function setMask(on) {
    shown.mask = on;
    byId("show-mask").checked = on;
    draw();
  }

  byId("show-mask").addEventListener("change", (event) => setMask(event.target.checked));
  byId("opacity").addEventListener("input", (event) => {
    shown.opacity = Number(event.target.value);
    draw();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "m" && !event.ctrlKey && !event.metaKey && !event.altKey) setMask(!shown.mask);
  });
  new ResizeObserver(() => draw()).observe(canvas);
  const stops = heatColors.filter((_, i) => i % 15 === 0).map(([r, g, b], i) => `rgb(${r} ${g} ${b} / ${i / 17})`);
  byId("legend").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  // The token that opened the page shall not stay in the address bar, the history or a bookmark.
  if (window.location.search) window.history.replaceState(null, "", window.location.pathname);
  listen();
  window.whenwhereLive = live;
})();

"use strict";

/** Sends clips, shows how far the server is with each, and lists those it has. */
(() => {
  const byId = (id) => document.getElementById(id);
  const settings = JSON.parse(byId("settings").textContent);
  const rows = new Map();  // id -> {item, ...parts}; uploads have ids of this page until the server gives them theirs
  const mine = new Set();  // clips sent from this page
  const states = new Map();
  const OPEN_MS = 400;
  const QUIET_MS = 4000;
  let timer = 0;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const say = (text) => { byId("said").textContent = text; };
  const percent = (share) => `${Math.round(100 * share)} %`;

  function complain(text) {
    byId("messages").append(make("p", { textContent: text }));
  }

  async function sentence(response) {
    try {
      const { detail } = await response.json();
      if (typeof detail === "string") return detail;
    } catch { /* not of this server */ }
    return `the server answered with status ${response.status}`;
  }

  // ---- Rows ------------------------------------------------------------------------------------

  function addRow(id, name, onRemove) {
    const parts = {
      picture: make("div", { className: "picture" }),
      name: make("div", { className: "name", textContent: name }),
      state: make("div", { className: "state" }),
      bar: make("progress", { hidden: true }),
      button: make("button", { type: "button", textContent: "Cancel" }),
    };
    parts.bar.setAttribute("aria-label", `Progress of ${name}`);
    parts.button.setAttribute("aria-label", `Cancel ${name}`);
    parts.button.addEventListener("click", onRemove);
    parts.item = make(
      "li", { className: "clip" }, parts.picture,
      make("div", {}, parts.name, parts.state, parts.bar), make("div", { className: "act" }, parts.button),
    );
    parts.item.dataset.id = id;
    byId("clips").prepend(parts.item);
    rows.set(id, parts);
    byId("empty").hidden = true;
    return parts;
  }

  function dropRow(id) {
    const parts = rows.get(id);
    if (!parts) return;
    const focused = parts.item.contains(document.activeElement);
    parts.item.remove();
    rows.delete(id);
    states.delete(id);
    byId("empty").hidden = rows.size > 0;
    if (focused) byId("files").focus();
  }

  function showProgress(parts, text, { done, total }) {
    parts.state.textContent = total ? `${text}: ${done} of ${total} frames` : text;
    parts.bar.hidden = false;
    if (total) {
      parts.bar.max = total;
      parts.bar.value = done;
    } else parts.bar.removeAttribute("value");
  }

  function showDone(parts, clip) {
    const link = make("a", { href: `clips/${clip.id}`, textContent: clip.name });
    parts.name.replaceChildren(link);
    const sent = new Date(1000 * clip.created).toLocaleTimeString();
    parts.state.textContent = `${clip.label}, ${percent(clip.score)} · ${clip.duration.toFixed(1)} s · sent ${sent}`;
    const image = make("img", { src: `api/clips/${clip.id}/thumbnail.jpg`, alt: `Most important frame of ${clip.name}` });
    parts.picture.replaceChildren(image);
  }

  const PHASES = { decoding: "Decoding", computing: "Computing", writing: "Writing" };

  function showClip(clip) {
    const parts = rows.get(clip.id) || addRow(clip.id, clip.name, () => remove(clip.id, clip.name));
    const before = states.get(clip.id);
    states.set(clip.id, clip.phase);
    const ended = clip.state === "done" || clip.state === "failed";
    if (ended && before === clip.phase) return;
    if (clip.state === "queued") showProgress(parts, `Waiting, number ${clip.position ?? "?"} in the queue`, clip.progress);
    else if (clip.state === "running") showProgress(parts, PHASES[clip.phase] || "Working", clip.progress);
    if (before !== clip.phase && (mine.has(clip.id) || before)) {
      say(clip.state === "done" ? `${clip.name}: ${clip.label}` : `${clip.name}: ${clip.error?.message || clip.phase}`);
    }
    if (!ended) return;
    parts.bar.hidden = true;
    parts.button.textContent = "Delete";
    parts.button.setAttribute("aria-label", `Delete ${clip.name}`);
    if (clip.state === "done") showDone(parts, clip);
    else {
      parts.state.textContent = `Failed: ${clip.error.message}`;
      parts.state.classList.add("failure");
    }
  }

  async function remove(id, name) {
    const response = await fetch(`api/clips/${id}`, { method: "DELETE" });
    if (!response.ok && response.status !== 404) {
      complain(`${name}: ${await sentence(response)}`);
      return;
    }
    dropRow(id);
    say(`${name} removed`);
  }

  async function refresh() {
    clearTimeout(timer);
    let open = false;
    try {
      const response = await fetch("api/clips");
      if (!response.ok) throw new Error(await sentence(response));
      const clips = await response.json();
      const known = new Set(clips.map((clip) => clip.id));
      for (const id of [...rows.keys()]) if (!known.has(id) && !String(id).startsWith("sending")) dropRow(id);
      for (const clip of clips.reverse()) showClip(clip);
      open = clips.some((clip) => clip.state === "queued" || clip.state === "running");
      byId("messages").querySelector(".lost")?.remove();
      followOne(clips);
    } catch (error) {
      if (!byId("messages").querySelector(".lost")) {
        byId("messages").append(make("p", { className: "lost", textContent: `The server does not answer: ${error.message}` }));
      }
    }
    timer = setTimeout(refresh, open ? OPEN_MS : QUIET_MS);
  }

  /** Whoever sent one clip wants to see it; whoever sent several chooses. */
  function followOne(clips) {
    if (mine.size !== 1 || sending.length) return;
    const [id] = mine;
    if (clips.some((clip) => clip.id === id && clip.state === "done")) {
      mine.clear();
      window.location.assign(`clips/${id}`);
    }
  }

  // ---- Sending ---------------------------------------------------------------------------------

  const sending = [];
  let busy = false;
  let count = 0;

  function enqueue(files) {
    byId("messages").replaceChildren();
    for (const file of files) {
      if (file.size > settings.bytes) {
        complain(`${file.name}: larger than ${settings.megabytes} MB, which is all this server takes`);
        continue;
      }
      count += 1;
      const job = { id: `sending ${count}`, file, request: null, cancelled: false };
      const parts = addRow(job.id, file.name, () => {
        job.cancelled = true;
        job.request?.abort();
        dropRow(job.id);
        say(`${file.name} cancelled`);
      });
      parts.state.textContent = "Waiting to be sent";
      sending.push(job);
    }
    sendNext();
  }

  function sendNext() {
    if (busy || !sending.length) return;
    const job = sending[0];
    const finish = (message) => {
      sending.shift();
      busy = false;
      if (message) complain(`${job.file.name}: ${message}`);
      dropRow(job.id);
      refresh();
      sendNext();
    };
    busy = true;
    if (job.cancelled) {
      finish();
      return;
    }
    const request = new XMLHttpRequest();
    job.request = request;
    const parts = rows.get(job.id);
    request.upload.addEventListener("progress", (event) => {
      parts.state.textContent = `Sending: ${percent(event.loaded / event.total)}`;
      parts.bar.hidden = false;
      Object.assign(parts.bar, { max: event.total, value: event.loaded });
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not of this server */ }
      if (request.status === 429) {
        waitForPlace(parts, Number(request.getResponseHeader("Retry-After")) || 1);
        return;
      }
      if (request.status === 202) mine.add(answer.id);
      finish(request.status === 202 ? "" : answer.detail || `the server answered with status ${request.status}`);
    });
    request.addEventListener("error", () => finish("the connection to the server was lost; try again"));
    request.addEventListener("abort", () => finish());
    const form = new FormData();
    form.append("file", job.file, job.file.name);
    request.open("POST", "api/clips");
    request.send(form);
  }

  /** The queue is full, which is no fault of the clip: the others wait with it. */
  function waitForPlace(parts, seconds) {
    parts.state.textContent = `The queue is full; sent again in ${seconds} s`;
    parts.bar.hidden = true;
    setTimeout(() => {
      busy = false;
      sendNext();
    }, 1000 * seconds);
  }

  async function trySample(name) {
    byId("messages").replaceChildren();
    const response = await fetch(`api/samples/${encodeURIComponent(name)}`, { method: "POST" });
    if (response.ok) mine.add((await response.json()).id);
    else complain(`${name}: ${await sentence(response)}`);
    refresh();
  }

  async function showSamples() {
    const names = await (await fetch("api/samples")).json();
    for (const name of names) {
      const button = make("button", { type: "button", textContent: name });
      button.addEventListener("click", () => trySample(name));
      byId("samples").append(button);
    }
    byId("samples").hidden = !names.length;
  }

  function bindDrop() {
    const drop = byId("drop");
    byId("files").addEventListener("change", (event) => {
      enqueue([...event.target.files]);
      event.target.value = "";
    });
    for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
    document.addEventListener("dragover", () => drop.classList.add("over"));
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      drop.classList.remove("over");
      enqueue([...event.dataTransfer.files]);
    });
  }

  // The token that opened the page shall not stay in the address bar, the history or a bookmark.
  if (new URLSearchParams(window.location.search).has("token")) {
    window.history.replaceState(null, "", window.location.pathname);
  }
  bindDrop();
  showSamples().catch(() => {});
  refresh();
})();

"use strict";

/** An overlay video is drawn when it is asked for: say how far that is instead of starting a download that hangs. */
(() => {
  const link = document.querySelector('#downloads a[href$="/overlay.mp4"]');
  const ask = link.href.replace(/\.mp4$/, "");
  const status = ask.replace(/\/overlay$/, "");
  const EVERY_MS = 300;
  const said = Object.assign(document.createElement("span"), { id: "overlay-said", className: "quiet" });
  const bar = Object.assign(document.createElement("progress"), { id: "overlay-progress", hidden: true });
  said.setAttribute("role", "status");
  bar.setAttribute("aria-label", "Progress of the overlay video");
  const line = document.createElement("div");
  line.style.flexBasis = "100%";  // below the buttons
  line.append(said, " ", bar);
  link.parentElement.append(line);
  let drawn = false;
  let busy = false;

  async function answer(address, method) {
    const response = await fetch(address, { method });
    const content = await response.json();
    if (!response.ok) throw new Error(content.detail);
    return content.overlay;
  }

  function show({ state, progress }) {
    said.textContent = state === "queued" ? "Waiting to be drawn" : "Drawing";
    bar.hidden = false;
    if (progress.total) Object.assign(bar, { max: progress.total, value: progress.done });
    else bar.removeAttribute("value");
    bar.title = progress.total ? `${progress.done} of ${progress.total} frames` : "";
  }

  async function draw() {
    let overlay = await answer(ask, "POST");
    while (overlay.state !== "done") {
      if (overlay.state === "failed") throw new Error(overlay.error.message);
      show(overlay);
      await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
      overlay = await answer(status, "GET");
    }
  }

  link.addEventListener("click", async (event) => {
    if (drawn) return;
    event.preventDefault();
    if (busy) return;
    busy = true;
    try {
      await draw();
      drawn = true;
      said.textContent = "";
      link.click();
      drawn = false;  // the server may remove the clip; ask again next time
    } catch (error) {
      said.textContent = `No overlay video: ${error.message}`;
    }
    busy = false;
    bar.hidden = true;
  });
})();

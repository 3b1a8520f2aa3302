/** Buttons that save what the page shows. What has no link is made here, from the page's own data. */
function makeDownloads(data, panes, video, state) {
  const place = document.getElementById("downloads");

  function save(blob, name) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function addLink(text, href) {
    place.append(element("a", { className: "button", href, download: "", textContent: text }));
  }

  function addButton(id, text, action) {
    const button = element("button", { id, type: "button", textContent: text });
    button.addEventListener("click", action);
    place.append(button);
    return button;
  }

  function explanationJson({ data: view, attention }) {
    return JSON.stringify({ ...view.explanation, masks: attention.masksAsLists() });
  }

  /** The frame on show with what is drawn over it, every pane beside the other, at the video's own size. */
  function drawPicture() {
    const { width, height } = data.views[0].explanation;
    const picture = element("canvas", { width: width * panes.length, height });
    const context = picture.getContext("2d");
    panes.forEach((pane, number) => {
      const part = element("canvas", { width, height });
      const partContext = part.getContext("2d");
      partContext.drawImage(video, 0, 0, width, height);
      pane.attention.drawOn(partContext, state.frameTime, { ...pane.shown, opacity: state.opacity }, Math.max(1, width / 640));
      context.drawImage(part, number * width, 0);
    });
    return picture;
  }

  const pngName = () => `${data.stem}_${state.time.toFixed(2)}s.png`;

  /** A page from disk may show a video beside it but not read its pixels; then the button says so instead of failing. */
  function refusePicture(button) {
    button.disabled = true;
    const why = "A page opened from disk cannot copy pictures out of a video that is a file of its own.";
    place.append(element("p", { id: "png-why", className: "quiet", textContent: why }));
    button.setAttribute("aria-describedby", "png-why");
  }

  if (data.links.json) addLink("Explanation (JSON)", data.links.json);
  else {
    panes.forEach((pane, number) => {
      const text = panes.length > 1 ? `Explanation (JSON), ${pane.data.name}` : "Explanation (JSON)";
      const name = `${data.stem}${number ? `_${number + 1}` : ""}.json`;
      addButton(`download-json${number ? `-${number + 1}` : ""}`, text, () => (
        save(new Blob([explanationJson(pane)], { type: "application/json" }), name)));
    });
  }
  if (data.links.overlay) addLink("Overlay video (MP4)", data.links.overlay);
  if (data.links.png) addLink("Picture (PNG)", data.links.png);
  else {
    const button = addButton("download-png", "This frame (PNG)", () => drawPicture().toBlob((blob) => save(blob, pngName()), "image/png"));
    if (window.location.protocol === "file:" && !video.src.startsWith("data:")) refusePicture(button);
  }
  return { explanationJson, drawPicture };
}

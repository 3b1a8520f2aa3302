// The theme searches in a worker, which browsers refuse to a page opened from disk. There a hidden frame does its work;
// the offline plugin of the theme expects a script of this name, and would take one from elsewhere.
class IFrameWorker extends EventTarget {
  constructor(source) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = data => {
      const message = new MessageEvent("message", { data });
      this.onmessage?.(message);
      this.dispatchEvent(message);
    };
    const script = inside.document.createElement("script");
    script.src = source;
    this.ready = new Promise(done => { script.onload = done; });
    inside.document.body.append(script);
  }

  postMessage(data) {
    this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}

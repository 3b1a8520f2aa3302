"use strict";

/** Sorting and filtering of the list of videos. Without this script it is a plain table. */
(() => {
  const byId = (id) => document.getElementById(id);
  const body = byId("videos").tBodies[0];
  const headers = [...byId("videos").tHead.rows[0].cells];
  const rows = [...body.rows].map((row, order) => ({
    row,
    order,
    keys: [...row.cells].map((cell) => cell.dataset.sort),
    label: row.dataset.label,
    score: Number(row.dataset.score),
    text: row.textContent.toLowerCase(),
  }));
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  /** Sort by a column; rows that are equal keep the order of the page. */
  function sortBy(column, descending) {
    const isText = headers[column].dataset.kind === "text";
    const compare = isText
      ? (a, b) => collator.compare(a.keys[column], b.keys[column])
      : (a, b) => Number(a.keys[column]) - Number(b.keys[column]);
    rows.sort((a, b) => (descending ? -1 : 1) * compare(a, b) || a.order - b.order);
    body.append(...rows.map(({ row }) => row));
    headers.forEach((header, number) => {
      if (number === column) header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
  }

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(header.textContent);
    button.addEventListener("click", () => {
      const sorted = header.getAttribute("aria-sort");
      // Of probabilities the greatest are looked for first.
      sortBy(column, sorted ? sorted === "ascending" : header.textContent === "Probability");
    });
    header.replaceChildren(button);
  });

  function filter() {
    const [text, label] = [byId("filter-text").value.trim().toLowerCase(), byId("filter-label").value];
    const least = Number(byId("filter-score").value) / 100;
    let shown = 0;
    for (const each of rows) {
      const fits = (!label || each.label === label) && each.score >= least && each.text.includes(text);
      each.row.hidden = !fits;
      shown += fits;
    }
    byId("filter-score-value").textContent = `${byId("filter-score").value} %`;
    byId("shown").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  }

  byId("filters").addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => window.setTimeout(filter));
  byId("filters").hidden = rows.length < 2;
})();

// The theme's search is a dialog without a name, which a screen reader would have to announce as one.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

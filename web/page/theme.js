// A classic script in the head: the theme is chosen before anything is drawn.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("grid-theme");
  } catch {
    // Storage may be forbidden; the system's theme is taken then.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();

// Says whether the page is being told of changes: a page that stands still in silence would mislead.
(() => {
  const say = (state, text) => {
    const word = document.getElementById("live-word");
    if (!word || word.dataset.state === state) return;
    word.dataset.state = state;
    word.textContent = text;
  };
  document.addEventListener("htmx:sse:after:connection", () => say("live", "updates by itself"));
  for (const name of ["htmx:sse:error", "htmx:sse:close"]) {
    document.addEventListener(name, () => say("off", "does not update by itself at the moment"));
  }
})();

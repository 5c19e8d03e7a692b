// From one model's page to another's: the question in the box comes along, for this tab alone and until it is there.
// A page in a frame may have no storage: then it does without.
() => {
  const KEY = "atmoe-question-carried", box = document.querySelector("#question textarea");
  const attempt = (what) => { try { return what(); } catch { return null; } };
  const carried = attempt(() => window.sessionStorage.getItem(KEY));
  attempt(() => window.sessionStorage.removeItem(KEY));
  if (carried && box && !box.value) {
    box.value = carried;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("a[data-model]") && box?.value) attempt(() => window.sessionStorage.setItem(KEY, box.value));
  });
}

// The menu of cases: a list over the page, at the question box. A case that is chosen is asked at once.
const button = element.querySelector("#cases-button"), list = element.querySelector("#cases-menu");
const open = (yes) => {
  list.hidden = !yes;
  button.setAttribute("aria-expanded", yes);
};
const close = () => {
  const inside = list.contains(document.activeElement);
  open(false);
  if (inside) button.focus();
};
window.atmoeCases?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeCases = new AbortController());

button.addEventListener("click", () => open(list.hidden));
document.addEventListener("pointerdown", ({ target }) => element.contains(target) || open(false), { signal });
document.addEventListener("keydown", (event) => {
  if (list.hidden) return;
  if (event.key === "Escape") return close();
  const all = [...list.querySelectorAll("button")], at = all.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
  if (to === undefined || !element.contains(document.activeElement)) return;
  event.preventDefault();
  (all[to] ?? (to < 0 ? button : document.activeElement)).focus();
}, { signal });
list.addEventListener("click", async ({ target }) => {
  const chosen = target.closest("[data-question]");
  if (!chosen) return;
  open(false);
  const box = document.querySelector("#question textarea, #question input");
  box.value = chosen.dataset.question;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.focus();
  await new Promise((done) => setTimeout(done, 50)); // Gradio hears of the words first
  document.querySelector("#answer-button").click();
});

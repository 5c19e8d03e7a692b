// An address is read a moment after its page can be seen. Until that is over, what a person presses or sends waits, and is
// then done in its order, under what the address says; and what they typed stays in the box. Heard before Gradio listens.
{
  const NOTICED = 50; // ms in which Gradio hears of what was put into the page
  const LONGEST = 10000; // ms after which it is done all the same, should nobody ever say that the address was read
  let opening = true, held = [], typed = null;
  const box = () => document.querySelector("#question textarea, #question input");
  const pause = () => new Promise((done) => setTimeout(done, NOTICED));
  const fill = async (text) => {
    if (!box() || box().value === text) return;
    box().value = text;
    box().dispatchEvent(new Event("input", { bubbles: true }));
    await pause();
  };
  const hold = (event, button, question) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!held.length) setTimeout(() => opening && document.dispatchEvent(new Event("atmoe:opened")), LONGEST);
    held.push({ button, question });
  };
  window.addEventListener("click", (event) => {
    const button = opening && event.target.closest?.("button");
    if (button) hold(event, button, button.id === "answer-button" ? box()?.value : undefined);
  }, true);
  window.addEventListener("keydown", (event) => {
    if (opening && event.key === "Enter" && !event.isComposing && event.target === box())
      hold(event, document.querySelector("#answer-button"), box().value);
  }, true);
  window.addEventListener("input", ({ target }) => opening && target === box() && (typed = target.value), true);
  document.addEventListener("atmoe:opening", () => (opening = true));
  document.addEventListener("atmoe:opened", async () => {
    await pause();
    opening = false;
    const now = held, last = typed;
    [held, typed] = [[], null];
    for (const { button, question } of now) {
      if (question !== undefined) await fill(question);
      button?.click();
    }
    if (last !== null) await fill(last);
  });
}

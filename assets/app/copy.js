// Copies the answer that stands in `place`, as the model wrote it; the button says for a moment what came of it.
async (place) => {
  const button = document.querySelector(`#copy-${place}`), passage = document.querySelector(`#${place} .passage:not(.told)`);
  const name = (button.dataset.name ??= button.textContent.trim());
  if (!passage) return;
  getSelection().selectAllChildren(passage);
  // Without https a browser gives no clipboard: then the answer is selected, ready to be copied.
  const said = await navigator.clipboard?.writeText(passage.textContent).then(() => "Copied", () => null) ?? "Selected: press Ctrl+C";
  button.setAttribute("aria-live", "polite");
  button.textContent = said;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => (button.textContent = name), 2000);
}

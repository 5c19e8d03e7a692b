// Copies the answer that stands in `place`, as the model wrote it; the button says for a moment what came of it.
async (place) => {
  const button = document.querySelector(`#copy-${place}`), passage = document.querySelector(`#${place} .passage:not(.told)`);
  const name = (button.dataset.name ??= button.textContent.trim());
  if (!passage) return;
  getSelection().selectAllChildren(passage);
  // Without https a browser gives no clipboard: then the answer is selected, ready to be copied, and that is said as long
  // as it is so.
  const copied = await navigator.clipboard?.writeText(passage.textContent).then(() => true, () => false);
  button.setAttribute("aria-live", "polite");
  button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
  button.over?.abort();
  const over = (button.over = new AbortController());
  const back = () => {
    over.abort();
    button.textContent = name;
  };
  if (!copied) {
    const look = () => passage.contains(getSelection().anchorNode) || back();
    document.addEventListener("selectionchange", look, { signal: over.signal });
  } else setTimeout(() => over.signal.aborted || back(), 4000);
}

// The cohort's table at work: a heading sorts, two ticked rows are sent to be compared. Its order and its ticks outlive
// the table, which is drawn anew as rows come in. `element` is a component without a face of its own.
window.atmoeCohort?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeCohort = new AbortController());
const place = document.getElementById("cohort-table");
let by = null, down = false, picked = [];

const valueOf = (row) => row.cells[by]?.dataset.sort ?? row.cells[by]?.textContent ?? "";
const compare = (a, b) => {
  const [x, y] = [a, b].map((text) => (text === "" ? -Infinity : Number(text))); // a row with an error has none
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
};
const sort = () => {
  const table = place.querySelector("table");
  if (!table || by === null) return;
  const rows = [...table.tBodies[0].rows].sort((a, b) => compare(valueOf(a), valueOf(b)) * (down ? -1 : 1));
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((head, at) =>
    head.hasAttribute("aria-sort") && head.setAttribute("aria-sort", at === by ? (down ? "descending" : "ascending") : "none"));
};
const tick = () => {
  for (const box of place.querySelectorAll("input[data-row]")) box.checked = picked.includes(Number(box.dataset.row));
};
const tell = () => {
  props.value = { rows: picked, at: (props.value.at ?? 0) + 1 };
  trigger("pick");
};
place.addEventListener("click", (event) => {
  const head = event.target.closest("th[aria-sort]");
  if (!head) return;
  down = by === head.cellIndex ? !down : false;
  by = head.cellIndex;
  sort();
}, { signal });
place.addEventListener("change", (event) => {
  const box = event.target.closest("input[data-row]");
  if (!box) return;
  const number = Number(box.dataset.row);
  picked = picked.filter((each) => each !== number);
  if (box.checked) picked = [...picked, number].slice(-2); // the two ticked last
  tick();
  tell();
}, { signal });
// What two ticked rows bring lies below the table: it comes into sight.
const pair = document.getElementById("cohort-pair");
new MutationObserver(() => pair.querySelector("table") && pair.scrollIntoView({ block: "nearest" })).observe(pair, { childList: true, subtree: true });
// Drawn anew: what was sorted stays so. Another cohort begins without a table, and forgets.
let own = false;
new MutationObserver(() => {
  if (own) return void (own = false);
  if (!place.querySelector("table")) return void ([by, down, picked] = [null, false, []]);
  own = by !== null;
  sort();
  tick();
}).observe(place, { childList: true, subtree: true });

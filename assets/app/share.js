// Share and Report in the header, and the page's address. `makeAddress` is address.js. `props.value` says where the browser
// is; `props.address`, `props.linked`, `props.file` and `props.ready` are what the server last answered.
window.atmoeShare?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeShare = new AbortController());
const part = (name) => element.querySelector(`[data-part="${name}"]`);
const share = element.querySelector("#share-button"), report = element.querySelector("#report-button"), dialog = element.querySelector("#share-dialog");
const WITHOUT = "It holds the settings alone, and no question.";
let asked = 0, told = null, saved = null;

const ask = (what, left = null) => {
  props.value = { search: location.search, hash: location.hash, back: what === "visit", left, at: ++asked };
  return asked;
};
const here = () => location.search + (location.hash.startsWith("#answers=") ? location.hash : "");
// What is set where the person was must not be written where they are: until the server has brought what is set here,
// nothing is written; nor where it is silent for long.
const SILENCE = 5000;
let seen = here(), visit = null, visitedAt = 0;
const tell = (what) => document.dispatchEvent(new Event(`atmoe:${what}`));
// Until what is there is opened, what is pressed or sent waits (opening.js); not for long, should the server be silent.
const go = (what, left) => {
  tell("opening");
  const at = ask(what, left);
  [visit, visitedAt] = [at, performance.now()];
  trigger("visit");
  setTimeout(() => at === visit && tell("opened"), SILENCE);
};
const address = makeAddress(window, () => (seen = here()));
window.addEventListener("popstate", () => {
  if (here() === seen) return; // another place on the same page
  address.left();
  seen = here();
  go("visit");
}, { signal });
// A page that is loaded asks only where its address holds something, or its tab does after a refresh.
document.addEventListener("atmoe:loaded", () => {
  const left = address.remains();
  if (!location.search && !location.hash.startsWith("#answers=") && !left) return tell("opened");
  go("load", left);
}, { signal });
const settle = (state) => {
  if (visit !== null && performance.now() - visitedAt < SILENCE) {
    if (state.at === visit) (visit = null), tell("opened");
  } else if (state.at === undefined) address.settle(state);
};

const draw = () => {
  report.disabled = !props.ready;
  part("keep").checked = address.agreed();
  const linked = props.linked;
  if (!told || linked?.at !== told) return;
  const can = Boolean(linked.question || linked.answers), yes = can && part("with").checked;
  part("what").textContent = linked.what;
  part("with").disabled = !can;
  const rest = !yes ? "" : linked.answers || `&q=${encodeURIComponent(linked.question)}`;
  part("link").value = location.origin + location.pathname + linked.query + rest;
  part("said").textContent = yes || !can ? linked.said : WITHOUT;
  part("copy").disabled = false;
};

const open = (yes) => {
  dialog.hidden = !yes;
  share.setAttribute("aria-expanded", yes);
  if (!yes) return;
  const { bottom, right } = share.getBoundingClientRect();
  dialog.style.top = `${Math.max(bottom, 0) + 6}px`;
  dialog.style.right = `${Math.max(8, Math.min(innerWidth - right, innerWidth - dialog.offsetWidth - 8))}px`;
  part("link").value = "";
  part("said").textContent = "…";
  told = ask("share");
  trigger("linking");
  part("copy").focus();
};

const copy = async () => {
  const button = part("copy"), name = (button.dataset.name ??= button.textContent);
  if (!part("link").value) return;
  part("link").select();
  // Without https a browser gives no clipboard: then the link is selected, ready to be copied, and that is said as long as
  // it is in hand.
  const copied = await navigator.clipboard?.writeText(part("link").value).then(() => true, () => false);
  button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
  clearTimeout(button.timer);
  const back = () => (button.textContent = name);
  if (copied) button.timer = setTimeout(back, 4000);
  else part("link").addEventListener("blur", back, { once: true });
};

share.addEventListener("click", () => open(dialog.hidden));
part("close").addEventListener("click", () => (open(false), share.focus()));
part("copy").addEventListener("click", copy);
part("link").addEventListener("focus", ({ target }) => target.select());
part("with").addEventListener("change", draw);
part("keep").addEventListener("change", ({ target }) => address.agree(target.checked));
part("with").checked = true;
element.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || dialog.hidden) return;
  open(false);
  share.focus();
});
document.addEventListener("pointerdown", ({ target }) => !dialog.hidden && !element.contains(target) && open(false), { signal });

report.addEventListener("click", () => trigger("report"));
const save = ({ name, type, text, at }) => {
  if (at === saved) return;
  saved = at;
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
};

watch("address", () => props.address && settle(props.address));
watch("file", () => props.file && save(props.file));
watch(["linked", "ready"], draw);
draw();

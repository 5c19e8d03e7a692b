// The steering controls at work. `props.value` is what app/controls.py reads; `props.shown` is what the server last
// measured: each target's note, the router's own share and the one in force. `balance` is shares.js, `makeHistory`
// history.js, `ownPresets` own_presets.js. The bar by the heatmaps (cells.js) speaks to this through events of the document.
const history = makeHistory(), own = ownPresets(() => localStorage);
const UNTOUCHED = { set: {}, strength: 1, scope: "all", on: true, cells: [] };
const rows = new Map([...element.querySelectorAll("[data-target]")].map((row) => [row.dataset.target, row]));
const groupOf = (target) => (target.includes("/") ? target.split("/")[0] : "");
const part = (target, name) => rows.get(target).querySelector(`[data-part="${name}"]`);
const place = (name) => element.querySelector(`[data-part="${name}"]`);
const say = (sentence) => (place("refusal").textContent = sentence);

const read = (target) => {
  const router = props.shown.targets[target]?.router ?? Number(rows.get(target).dataset.even);
  const [state, share, locked] = props.value.set[target] ?? ["router", Math.round(router), false];
  return { name: target, state, share, locked };
};

const draw = () => {
  const { strength, scope, on, cells } = props.value, { targets } = props.shown;
  const apart = (group) => cells.some(([t]) => t === group || groupOf(t) === group);
  for (const [target, row] of rows) {
    const { state, share, locked } = read(target), known = targets[target];
    for (const radio of row.querySelectorAll(":scope > .head [type=radio]")) radio.checked = radio.value === state;
    for (const kind of ["range", "number"]) {
      const input = part(target, kind);
      if (Number(input.value) !== share || input.value === "") input.value = share;
      input.disabled = locked;
    }
    part(target, "lock").setAttribute("aria-pressed", locked);
    part(target, "lock").disabled = state !== "fixed";
    row.classList.toggle("changed", state !== "router" || cells.some(([t]) => t === target));
    row.style.setProperty("--router", known?.router ?? 0);
    row.style.setProperty("--force", known?.force ?? 0);
    row.classList.toggle("known", known?.router != null);
    if (known) part(target, "note").textContent = known.note;
  }
  for (const button of element.querySelectorAll("[data-clear]")) {
    const group = button.dataset.clear;
    button.disabled = ![...rows.keys()].some((t) => (t === group || groupOf(t) === group) && props.value.set[t]) && !apart(group);
  }
  for (const input of element.querySelectorAll("[data-strength]")) input.value = strength;
  for (const radio of element.querySelectorAll("[data-scope]")) radio.checked = radio.value === scope;
  element.querySelector("[data-on]").checked = on;
  const able = history.can(), steps = ["undo", "redo"].map((what) => element.querySelector(`[data-do=${what}]`));
  for (const button of steps) button.disabled = false;
  // A button that can do no more must not take the keyboard's place on the page with it.
  if (steps.includes(document.activeElement) && !able[document.activeElement.dataset.do]) steps.find((b) => able[b.dataset.do])?.focus();
  for (const button of steps) button.disabled = !able[button.dataset.do];
  place("apart").textContent = cells.length ? `And what is set for picked cells: ${cells.length} in all, listed by the pictures of the weights.` : "";
  document.dispatchEvent(new CustomEvent("atmoe:set", { detail: cells }));
};

// One request at a time: Gradio lets several that begin together run side by side, and an older one could end last. What
// is set meanwhile goes with the next, as soon as the server has heard this one, or has been silent for long.
const SILENCE = 5000;
let sent = 0, heard = true, waiting = false, giveUp;
const tell = () => {
  waiting = !heard;
  if (!heard) return;
  heard = false;
  props.value = { ...props.value, at: ++sent };
  trigger("input");
  giveUp = setTimeout(listen, SILENCE);
};
const listen = () => {
  clearTimeout(giveUp);
  heard = true;
  if (waiting) tell();
  else rest();
};

// The steered answer is begun once nothing has moved for a while, and the server has heard the last movement.
const REST = 250;
let resting = null, moved = false;
const rest = () => {
  if (!moved || resting !== null || !heard) return;
  moved = false;
  trigger("rest");
};

const put = (value) => {
  props.value = value;
  draw();
  tell();
  moved = true;
  clearTimeout(resting);
  resting = setTimeout(() => { resting = null; rest(); }, REST);
};

const send = (change) => {
  const value = { ...props.value, ...change };
  // Cells left to the router say something only where there is a setting to be left out of.
  value.cells = value.cells.filter(([target, , , state]) => state !== "router" || value.set[target]);
  history.record(props.value, value, performance.now());
  put(value);
};

// What is set for layers of some targets takes them from whatever was set for them before.  state: null only does that
const setCells = ({ targets, first, last, state, share }) => {
  const cells = props.value.cells.flatMap(([target, from, to, ...rest]) => !targets.includes(target) || to < first || from > last
    ? [[target, from, to, ...rest]]
    : [[target, from, first - 1, ...rest], [target, last + 1, to, ...rest]].filter(([, a, b]) => a <= b));
  const reach = element.querySelector("[data-scope]:checked").dataset;
  for (const target of targets) {
    const [from, to] = state === "router" ? [Math.max(first, reach.first), Math.min(last, reach.last)] : [first, last];
    if (state && from <= to) cells.push([target, from, to, state, state === "fixed" ? share : 0]);
  }
  say("");
  send({ cells });
};

const drawOwn = (sentence) => {
  const { presets, trouble } = own.read();
  place("kept").textContent = sentence || trouble;
  place("own").replaceChildren(...[...presets].filter(([, value]) => !value || [...Object.keys(value.set), ...value.cells.map(([t]) => t)].every((t) => rows.has(t)))
    .map(([name, value]) => {
      const item = document.createElement("li");
      for (const [what, label] of [["apply", name], ["remove", "Delete"]]) {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
        button.dataset.own = what;
        if (what === "remove") button.setAttribute("aria-label", `Delete ${name}`);
        button.addEventListener("click", () => {
          if (what === "remove") drawOwn(own.remove(name)), element.querySelector("[data-part=save] input").focus();
          else if (!value) drawOwn(`“${name}” is broken and cannot be applied; delete it.`);
          else say(""), drawOwn(""), send({ ...UNTOUCHED, ...value });
        });
        item.append(button);
      }
      return item;
    }));
};

const change = (target, one, dragged) => {
  const names = [...rows.keys()].filter((t) => groupOf(t) === groupOf(target)), moved = names.indexOf(target);
  const { siblings, refusal } = balance(names.map((t) => (t === target ? { ...read(t), ...one } : read(t))), moved, dragged);
  say(refusal);
  const set = { ...props.value.set };
  for (const { name, state, share, locked } of siblings)
    if (state === "router") delete set[name];
    else set[name] = [state, share, locked];
  send({ set });
};

element.addEventListener("input", ({ target: input }) => {
  if (input.type === "text") return; // a preset's name
  const target = input.closest("[data-target]")?.dataset.target;
  if (input.dataset.strength !== undefined) {
    if (input.value !== "") send({ strength: Math.min(Math.max(Number(input.value), 0), Number(input.max)) });
  } else if (input.dataset.scope !== undefined) send({ scope: input.value });
  else if (input.dataset.on !== undefined) send({ on: input.checked });
  else if (input.type === "radio") change(target, { state: input.value }, false);
  else if (input.value !== "") change(target, { share: Math.min(Math.max(Math.round(Number(input.value)), 0), 100) }, true);
});
element.addEventListener("change", draw); // A number left empty shows its value again.

element.addEventListener("click", ({ target: clicked }) => {
  const button = clicked.closest("button");
  if (!button) return;
  const { clear, preset, do: what, opens } = button.dataset;
  if (button.dataset.part === "lock") {
    const { name, state, share, locked } = read(button.closest("[data-target]").dataset.target);
    send({ set: { ...props.value.set, [name]: [state, share, !locked] } });
  } else if (clear) {
    const kept = Object.entries(props.value.set).filter(([t]) => t !== clear && groupOf(t) !== clear);
    say("");
    send({ set: Object.fromEntries(kept), cells: props.value.cells.filter(([t]) => t !== clear && groupOf(t) !== clear) });
  } else if (preset) {
    say("");
    send(JSON.parse(preset));
  } else if (opens !== undefined) button.setAttribute("aria-expanded", button.getAttribute("aria-expanded") !== "true");
  else if (what) {
    say("");
    if (what === "reset") send(UNTOUCHED);
    else put(history[what](props.value));
  }
});

place("save").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.querySelector("input"), name = input.value.trim();
  drawOwn(own.save(name, props.value));
  if (own.read().presets.has(name)) input.value = "";
});
document.addEventListener("atmoe:cells", ({ detail }) => setCells(detail));
document.addEventListener("atmoe:ask", draw);

watch(["value", "shown"], () => {
  if (props.shown.refused) history.refused(props.value);
  document.dispatchEvent(new CustomEvent("atmoe:answered", { detail: props.shown.refused }));
  if (!heard && props.shown.at === sent) listen();
  draw();
});
draw();
drawOwn("");

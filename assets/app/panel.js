// The steering controls at work. `props.value` is what app/controls.py reads; `props.shown` is what the server last
// measured: each target's note, the router's own share and the one in force. `balance` is shares.js.
const rows = new Map([...element.querySelectorAll("[data-target]")].map((row) => [row.dataset.target, row]));
const groupOf = (target) => (target.includes("/") ? target.split("/")[0] : "");
const part = (target, name) => rows.get(target).querySelector(`[data-part="${name}"]`);
const say = (sentence) => (element.querySelector("[data-part=refusal]").textContent = sentence);

const read = (target) => {
  const router = props.shown.targets[target]?.router ?? Number(rows.get(target).dataset.even);
  const [state, share, locked] = props.value.set[target] ?? ["router", Math.round(router), false];
  return { name: target, state, share, locked };
};

const draw = () => {
  const { strength, scope, on } = props.value, { targets, undo, redo } = props.shown;
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
    row.classList.toggle("changed", state !== "router");
    row.style.setProperty("--router", known?.router ?? 0);
    row.style.setProperty("--force", known?.force ?? 0);
    row.classList.toggle("known", known?.router != null);
    if (known) part(target, "note").textContent = known.note;
  }
  for (const button of element.querySelectorAll("[data-clear]")) {
    const group = button.dataset.clear;
    button.disabled = ![...rows.keys()].some((t) => (t === group || groupOf(t) === group) && props.value.set[t]);
  }
  for (const input of element.querySelectorAll("[data-strength]")) input.value = strength;
  for (const radio of element.querySelectorAll("[data-scope]")) radio.checked = radio.value === scope;
  element.querySelector("[data-on]").checked = on;
  element.querySelector("[data-do=undo]").disabled = !undo;
  element.querySelector("[data-do=redo]").disabled = !redo;
};

const REST = 250; // milliseconds without a movement, before the steered answer is begun
let resting;
const send = (change) => {
  props.value = { ...props.value, ...change };
  draw();
  trigger("input");
  clearTimeout(resting);
  resting = setTimeout(() => trigger("rest"), REST);
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
    send({ set: Object.fromEntries(kept) });
  } else if (preset) {
    say("");
    send(JSON.parse(preset));
  } else if (opens !== undefined) button.setAttribute("aria-expanded", button.getAttribute("aria-expanded") !== "true");
  else if (what) {
    say("");
    clearTimeout(resting); // These begin their answer themselves.
    trigger(what === "undo" ? "undo" : what === "redo" ? "redo" : "reset");
  }
});

watch(["value", "shown"], draw);
draw();

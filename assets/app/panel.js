// The steering controls at work. `props.value` is what app/controls.py reads; `props.shown` is what the server last
// measured: each target's note, the router's own share and the one in force. `balance` is shares.js, `makeHistory`
// history.js, `ownPresets` own_presets.js. The bar by the heatmaps (cells.js) speaks to this through events of the document.
const history = makeHistory(), own = ownPresets(() => localStorage);
const UNTOUCHED = { set: {}, strength: 1, scope: "all", on: true, cells: [] };
const bench = element.closest("#bench"); // what the style sheets of all its parts ask
element.classList.add("levers");
const rows = new Map([...element.querySelectorAll("[data-target]")].map((row) => [row.dataset.target, row]));
const groupOf = (target) => (target.includes("/") ? target.split("/")[0] : "");
const part = (target, name) => rows.get(target).querySelector(`[data-part="${name}"]`);
const stateOf = (target) => `fieldset[aria-label="${CSS.escape(target)}"] [type=radio]`;
const place = (name) => element.querySelector(`[data-part="${name}"]`);
const say = (sentence) => (place("refusal").textContent = sentence);
const refuse = (sentence) => document.dispatchEvent(new CustomEvent("atmoe:refused", { detail: sentence }));

// One number a control: what is set, and where nothing is, what is in force.
const given = (target) => {
  const known = props.shown.targets[target] ?? {};
  return (props.value.on ? known.force : known.router) ?? Number(rows.get(target).dataset.even);
};
const read = (target) => {
  const [state, set, locked] = props.value.set[target] ?? ["router", null, false];
  return { name: target, state, share: set ?? Math.round(given(target)), locked };
};
const byHand = (target) => {
  const [state, share] = (props.value.on && props.value.set[target]) || [];
  return state === "off" ? 0 : state === "fixed" ? share : undefined;
};
const inForce = (target) => byHand(target) ?? given(target);
const UNKNOWN = "the router decides"; // until the router's share is known: none is made up
const NO_SHARE = 0.001; // percent; what a group has below it is rounding
const LOCKED = "; unlock it in the menu ⋯ first.";

// A number half typed stands, whatever the server answers meanwhile.
let typed = null;
element.addEventListener("input", ({ target: input }) => input.type === "number" && (typed = input));
for (const end of ["change", "focusout"]) element.addEventListener(end, ({ target: input }) => input === typed && (typed = null));

const draw = () => {
  const { strength, scope, on, cells } = props.value, { targets } = props.shown;
  const apart = (group) => cells.some(([t]) => t === group || groupOf(t) === group);
  for (const [target, row] of rows) {
    const { state, share, locked } = read(target), known = targets[target];
    for (const radio of row.querySelectorAll(stateOf(target))) radio.checked = radio.value === state;
    for (const kind of ["range", "number"]) {
      // Before the router has spoken there is no number to show, and none is made up.
      const input = part(target, kind), value = state === "off" ? 0 : state === "router" && !known && kind === "number" ? "" : share;
      if (input !== typed && (value === "" || Number(input.value) !== value || input.value === "")) input.value = value;
      input.disabled = locked;
      input.ariaValueText = state === "router" && !known ? UNKNOWN : null;
    }
    const lock = element.querySelector(`[data-lock="${CSS.escape(target)}"]`);
    lock.setAttribute("aria-pressed", locked);
    lock.disabled = state !== "fixed";
    row.classList.toggle("changed", state !== "router" || cells.some(([t]) => t === target));
    row.style.setProperty("--router", known?.router ?? 0);
    row.classList.toggle("known", known?.router != null);
    if (known) part(target, "note").textContent = part(target, "range").title = known.note;
  }
  bench.toggleAttribute("data-known", element.querySelector(".known") !== null);
  element.dataset.of = props.shown.of ?? ""; // whose plan these are (page.js)
  element.querySelectorAll(".segments").forEach(drawSegments);
  for (const button of element.querySelectorAll("[data-clear]")) {
    const group = button.dataset.clear;
    button.disabled = ![...rows.keys()].some((t) => (t === group || groupOf(t) === group) && props.value.set[t]) && !apart(group);
  }
  for (const input of element.querySelectorAll("[data-strength]")) if (input !== typed) input.value = strength;
  for (const radio of element.querySelectorAll("[data-scope]")) radio.checked = radio.value === scope;
  element.querySelector("[data-on]").checked = on;
  const nothing = !Object.keys(props.value.set).length && !cells.length && strength === 1;
  element.querySelector("[data-on]").disabled = nothing && on;
  element.querySelector("[data-do=reset]").disabled = nothing && on && scope === "all";
  const able = history.can(), steps = ["undo", "redo"].map((what) => element.querySelector(`[data-do=${what}]`));
  for (const button of steps) button.disabled = false;
  // A button that can do no more must not take the keyboard's place on the page with it.
  if (steps.includes(document.activeElement) && !able[document.activeElement.dataset.do]) steps.find((b) => able[b.dataset.do])?.focus();
  for (const button of steps) button.disabled = !able[button.dataset.do];
  drawChanges();
};

// A group's experts in one row, as wide as their shares; below it those who take no part.
const drawSegments = (bar) => {
  const known = props.shown.targets, buttons = [...bar.querySelectorAll(".segment")];
  const group = groupOf(buttons[0].dataset.lead), out = known[group] && inForce(group) < NO_SHARE;
  const shares = buttons.map((b) => (out ? 0 : inForce(b.dataset.lead))), largest = Math.max(...shares);
  let before = 0, marks = [];
  buttons.forEach((button, i) => {
    const target = button.dataset.lead, { state } = read(target), asked = known[target]?.asked ?? true, share = Math.round(shares[i]);
    const absent = state === "off" || (shares[i] < 0.5 && Boolean(known[target]));
    button.classList.toggle("absent", absent);
    button.classList.toggle("off", state === "off");
    button.classList.toggle("set", state === "fixed");
    button.classList.toggle("leads", !absent && shares[i] === largest && Boolean(known[target]));
    button.style.flexGrow = absent ? 0 : Math.max(shares[i], 1);
    button.querySelector("b").textContent = absent || !known[target] ? "" : `${share}%`;
    const has = known[target] || byHand(target) !== undefined ? `${share}%` : UNKNOWN;
    const does = state === "off" ? "off" : absent ? (asked && !out ? "no share" : "takes no part") : has;
    button.setAttribute("aria-label", `${target}: ${does}${state === "fixed" ? ", set by you" : ""}`);
    button.title = `${target.split("/")[1]}: ${does}${known[target] ? `; the router gave ${Math.round(known[target].router)}%` : ""}. Click: it leads its group`;
    button.setAttribute("aria-pressed", state === "fixed");
    before += known[target]?.router ?? 0;
    if (known[target]?.router >= 0.5 && before < 99.5) marks.push(before);
  });
  const differs = buttons.some((b, i) => known[b.dataset.lead] && Math.abs(known[b.dataset.lead].router - shares[i]) >= 1);
  bar.querySelector(".ticks").replaceChildren(...(differs ? marks : []).map((at) => Object.assign(document.createElement("i"), { style: `left:${at}%` })));
  bar.classList.toggle("unasked", !buttons.some((b) => known[b.dataset.lead]));
  bar.classList.toggle("some-absent", buttons.some((b) => b.classList.contains("absent")));
};

// Everything that is changed, each with its own way back; the badge counts the same.
const NAMES = { early: "early layers", middle: "middle layers", late: "late layers" };
const drawChanges = () => {
  const { set, strength, scope, on, cells } = props.value, where = scope === "all" ? "" : ` · ${NAMES[scope]}`;
  const said = (target, state, share) => {
    const [group, expert] = target.split("/"), what = { fixed: `${share}%`, off: "off", router: "the router's" }[state];
    return expert && state === "fixed" ? `${group} → ${expert} ${what}` : `${expert ?? group} ${what}`;
  };
  const items = [...rows.keys()].filter((t) => set[t]).map((t) => ({ key: t, text: said(t, ...set[t]) + (set[t][2] ? " 🔒" : "") + where, back: () => {
    const { [t]: _, ...kept } = props.value.set;
    send({ set: kept });
  } }));
  for (const [t, first, last, state, share] of cells) {
    const layers = first === last ? `layer ${first}` : `layers ${first}–${last}`;
    items.push({ key: `${t}:${first}`, text: `${said(t, state, share)} · ${layers}`, back: () => setCells({ targets: [t], first, last, state: null }) });
  }
  if (strength !== 1) items.push({ key: "strength", text: `strength ${strength}`, back: () => send({ strength: 1 }) });
  const list = place("changes"), now = JSON.stringify([items.map((i) => [i.key, i.text]), on, props.shown.same]);
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  list.classList.toggle("kept-only", !on);
  const held = list.contains(document.activeElement);
  list.replaceChildren(...items.map(({ text, back }) => {
    const item = document.createElement("li"), button = Object.assign(document.createElement("button"), { type: "button", textContent: "✕", ariaLabel: `Take back: ${text}` });
    button.addEventListener("click", () => (say(""), back()));
    item.append(Object.assign(document.createElement("span"), { textContent: text }), button);
    return item;
  }));
  if (items.length && on && props.shown.same) list.append(Object.assign(document.createElement("li"), { className: "none", textContent: "The router gave the same shares already." }));
  if (!items.length) list.append(Object.assign(document.createElement("li"), { className: "none", textContent: "None: the router's own weights." }));
  if (held) (list.querySelector("button") ?? element.querySelector(".segment")).focus();
};

// One request at a time: Gradio lets several that begin together run side by side, and an older one could end last. What
// is set meanwhile goes with the next, as soon as the server has heard this one, or has been silent for long.
const SILENCE = 5000;
let sent = props.shown.at, heard = true, waiting = false, giveUp; // the server never goes back to an earlier number
let lateAt = null; // the number of what came late, and was asked for anew
let kept = null; // what was set while nothing could be sent, before the last change: a refusal of that one must not take it along
const tell = (again = false) => {
  waiting = !heard;
  if (!heard) return;
  heard = false;
  props.value = { ...props.value, at: ++sent, again };
  trigger("input");
  giveUp = setTimeout(() => listen(), SILENCE);
};
const listen = (again = false) => {
  clearTimeout(giveUp);
  heard = true;
  if (waiting || again) tell(again);
  else rest();
};

// The steered answer is begun once nothing has moved for a while, and the server has heard the last movement.
const REST = 250;
// Until then the page knows that what stands beside the controls is not theirs.
let resting = null, moved = false;
const rest = () => {
  if (!moved || resting !== null || !heard) return;
  moved = false;
  bench.removeAttribute("data-moving");
  trigger("rest");
};

const put = (value) => {
  refuse(""); // what was refused before stands until now
  kept = heard ? null : props.value;
  props.value = value;
  draw();
  tell();
  moved = true;
  bench.setAttribute("data-moving", "");
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

// A preset takes the place of all that was set; what it takes away is told.
const replace = (value) => {
  const changes = ({ set, cells, strength }) => [...Object.entries(set).filter(([, [state]]) => state !== "router"), ...cells, ...(strength === 1 ? [] : [strength])].map((one) => JSON.stringify(one));
  const now = changes({ ...UNTOUCHED, ...value }), lost = changes(props.value).filter((one) => !now.includes(one)).length;
  send(value);
  say(lost ? `In place of ${lost === 1 ? "1 change" : `${lost} changes`} of before; Undo brings ${lost === 1 ? "it" : "them"} back.` : "");
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
          else drawOwn(""), replace({ ...UNTOUCHED, ...value });
        });
        item.append(button);
      }
      return item;
    }));
};

const siblingsOf = (target) => [...rows.keys()].filter((t) => groupOf(t) === groupOf(target));
const change = (target, one, dragged) => {
  const names = siblingsOf(target), moved = names.indexOf(target);
  const { siblings, refusal } = balance(names.map((t) => (t === target ? { ...read(t), ...one } : read(t))), moved, dragged);
  say(refusal);
  settle(siblings);
};
const settle = (siblings) => {
  const set = { ...props.value.set };
  for (const { name, state, share, locked } of siblings)
    if (state === "router") delete set[name];
    else set[name] = [state, share, locked];
  send({ set });
};

// A number that was typed is what was meant: what the others' fixed shares make impossible is refused, not bent.
const type = (target, wanted) => {
  const others = siblingsOf(target).filter((t) => t !== target).map(read), fixed = others.filter((s) => s.state === "fixed");
  const room = 100 - fixed.reduce((sum, { share }) => sum + share, 0), every = fixed.length === others.length;
  if (wanted > room || (every && wanted !== room)) {
    const held = fixed.length ? `${fixed.map(({ name, share }) => `${name} ${share}%`).join(" and ")} fixed` : "no other beside it";
    say(`${target} cannot have ${wanted}%: ${held} leaves ${every ? "" : "at most "}${room}%. Take one of them back first.`);
    draw();
  } else change(target, { share: wanted }, true);
};

// An expert leads its group: those that were set and are not locked go back to the router, and share what is left.
const lead = (target) => {
  const names = siblingsOf(target), now = read(target);
  if (now.locked) return say(`${target} is locked${LOCKED}`);
  if (now.state === "fixed" && now.share >= LEAD_PERCENT) return say(""), settle([{ ...now, state: "router" }]);
  const others = names.filter((t) => t !== target).map(read), locked = others.filter((s) => s.locked);
  const room = 100 - locked.reduce((sum, { share }) => sum + share, 0);
  const freed = others.map((s) => (s.state === "fixed" && !s.locked ? { ...s, state: "router" } : s));
  // In a group that takes no part nobody has a share by the router: who would have one takes what is left.
  const known = props.shown.targets, called = known[groupOf(target)]?.asked === false;
  const anybody = freed.some((s) => s.state === "router" && (called ? known[s.name].asked : (known[s.name]?.router ?? 1) >= 0.5));
  const share = Math.min(room, anybody ? Math.max(LEAD_PERCENT, Math.round(inForce(target))) : 100);
  say(share < LEAD_PERCENT ? `${locked.map(({ name }) => name).join(" and ")} locked: ${share}% is left for ${target}.` : "");
  settle([...freed, { ...now, state: "fixed", share }]);
};

// Share moves over the edge between two neighbours; nobody else feels it.
const EDGE = 7;
let edge = null; // {pair, sum: what both have, start: the left one's, from: where the pointer went down, width, moved, last}
const edgeAt = (event) => {
  const button = event.target.closest(".segment:not(.absent)");
  if (!button) return null;
  const row = [...button.parentElement.querySelectorAll(".segment:not(.absent)")], i = row.indexOf(button), { left, right } = button.getBoundingClientRect();
  const pair = right - event.clientX <= EDGE && row[i + 1] ? [row[i], row[i + 1]] : event.clientX - left <= EDGE && i ? [row[i - 1], row[i]] : null;
  return pair?.map((b) => b.dataset.lead) ?? null;
};
element.addEventListener("pointerdown", (event) => {
  const pair = event.button === 0 && edgeAt(event);
  if (!pair) return;
  const locked = pair.filter((t) => read(t).locked);
  if (locked.length) return say(`${locked.join(" and ")} is locked${LOCKED}`);
  const [a, b] = pair.map(inForce), others = siblingsOf(pair[0]).filter((t) => !pair.includes(t)).map(read);
  const held = others.filter((s) => s.state === "fixed").reduce((sum, { share }) => sum + share, 0);
  const sum = others.every((s) => s.state === "fixed") ? 100 - held : Math.min(Math.round(a + b), 100 - held);
  edge = { pair, sum, start: Math.round(a), from: event.clientX, width: event.target.closest(".segments").clientWidth, moved: false };
  event.target.setPointerCapture(event.pointerId);
  event.preventDefault();
});
element.addEventListener("pointermove", (event) => {
  if (!edge) return element.querySelectorAll(".segments").forEach((bar) => bar.classList.toggle("on-edge", bar.contains(event.target) && Boolean(edgeAt(event))));
  const share = Math.min(Math.max(Math.round(edge.start + ((event.clientX - edge.from) / edge.width) * 100), 0), edge.sum);
  if (share === edge.last) return;
  edge.last = share;
  edge.moved ||= Math.abs(event.clientX - edge.from) > 2;
  if (!edge.moved) return;
  say("");
  settle(edge.pair.map((t, i) => ({ ...read(t), state: "fixed", share: i ? edge.sum - share : share })));
});
let dragged = false;
const drop = () => ((dragged = Boolean(edge?.moved)), (edge = null), setTimeout(() => (dragged = false)));
element.addEventListener("pointerup", drop);
element.addEventListener("pointercancel", drop);
element.addEventListener("keydown", (event) => {
  const target = event.target.closest(".segment")?.dataset.lead, by = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5 }[event.key];
  if (!target || !by || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  if (read(target).locked) return say(`${target} is locked${LOCKED}`);
  change(target, { share: Math.min(Math.max(Math.round(inForce(target)) + by, 0), 100) }, true);
});

element.addEventListener("input", ({ target: input }) => {
  if (input.type === "text") return; // a preset's name
  const target = input.closest("[data-target]")?.dataset.target;
  if (input.dataset.strength !== undefined) {
    if (input.value !== "") send({ strength: Math.min(Math.max(Number(input.value), 0), Number(input.max)) });
  } else if (input.dataset.scope !== undefined) send({ scope: input.value });
  else if (input.dataset.on !== undefined) send({ on: input.checked });
  else if (input.type === "radio") change(target, { state: input.value }, false);
  else if (input.type === "range") change(target, { share: Number(input.value) }, true);
});
element.addEventListener("change", ({ target: input }) => {
  const target = input.closest("[data-target]")?.dataset.target;
  if (input.type === "number" && target && input.value !== "" && Number(input.value) !== read(target).share)
    type(target, Math.min(Math.max(Math.round(Number(input.value)), 0), 100));
  draw(); // A number left empty shows its value again.
});

element.addEventListener("click", ({ target: clicked }) => {
  const button = clicked.closest("button");
  if (!button) return;
  const { clear, preset, do: what, lock, lead: leads } = button.dataset;
  if (leads) {
    if (!dragged) lead(leads);
  } else if (lock) {
    const { name, state, share, locked } = read(lock);
    send({ set: { ...props.value.set, [name]: [state, share, !locked] } });
  } else if (clear) {
    const kept = Object.entries(props.value.set).filter(([t]) => t !== clear && groupOf(t) !== clear);
    say("");
    send({ set: Object.fromEntries(kept), cells: props.value.cells.filter(([t]) => t !== clear && groupOf(t) !== clear) });
  } else if (preset) {
    replace(JSON.parse(preset));
  } else if (what) {
    say("");
    if (what === "reset") send(UNTOUCHED);
    else put(history[what](props.value));
  }
});

// On a narrow screen the controls are a sheet at the lower edge, which leaves the answer in sight.
element.querySelector("[data-sheet]").addEventListener("click", ({ currentTarget: button }) => {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", open);
  const sheet = document.getElementById("steer");
  sheet.classList.toggle("open", open);
  sheet.scrollTop = 0;
});

// Menus lie over the page, beside the controls; Escape or a press elsewhere closes them.
for (const button of element.querySelectorAll("[data-opens]")) {
  const menu = button.closest("section").querySelector(".menu");
  button.popoverTargetElement = menu;
  menu.addEventListener("beforetoggle", ({ newState }) => {
    const at = element.getBoundingClientRect(), wide = innerWidth >= 1000;
    const top = Math.max(8, Math.min(button.getBoundingClientRect().bottom + 4, innerHeight - 400));
    Object.assign(menu.style, { left: wide ? `${at.right + 4}px` : "8px", right: wide ? "auto" : "8px", top: `${top}px`, maxHeight: `${innerHeight - top - 8}px` });
    button.setAttribute("aria-expanded", newState === "open");
  });
}

// No form: a frame on somebody's site may forbid those.
const save = () => {
  const input = place("save").querySelector("input"), name = input.value.trim();
  drawOwn(own.save(name, props.value));
  if (own.read().presets.has(name)) input.value = "";
};
place("save").querySelector("button").addEventListener("click", save);
place("save").querySelector("input").addEventListener("keydown", ({ key, isComposing }) => key === "Enter" && !isComposing && save());
document.addEventListener("atmoe:late", () => heard && trigger("again"));
document.addEventListener("atmoe:cells", ({ detail }) => setCells(detail));

watch(["value", "shown"], () => {
  if (props.shown.at > sent) {
    // The page itself put something there: what was sent or set before it counts no more.
    clearTimeout(giveUp), clearTimeout(resting);
    [sent, heard, waiting, kept, resting, moved] = [props.shown.at, true, false, null, null, false];
    bench.removeAttribute("data-moving");
  }
  const answered = !heard && props.shown.at === sent, again = answered && Boolean(props.shown.refused && kept);
  if (again) [props.value, kept, moved] = [kept, null, true];
  if (props.shown.refused) history.refused(props.value), refuse(props.shown.refused);
  if (answered) listen(again);
  draw();
  // What was said first may come last, and would stay: it is asked for anew, once.
  const late = heard && props.shown.at < sent;
  if (late && props.shown.at !== lateAt) trigger("again");
  lateAt = late ? props.shown.at : null;
});
draw();
drawOwn("");

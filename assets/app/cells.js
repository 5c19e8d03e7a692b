// Picking cells on the heatmaps or in the table, and the popover beside them that sets them. Over each picture lies a grid
// of cells for the keyboard and for screen readers; a mouse or a finger goes through it, so that Plotly's own notes still
// show. Pictures are drawn again while an answer streams: listeners sit on the document, and the grid is put back in place.
window.atmoeCells?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeCells = new AbortController());
const on = (target, kinds, listener) => kinds.split(" ").forEach((kind) => target.addEventListener(kind, listener, { signal }));
const bar = (name) => element.querySelector(`[data-part="${name}"]`);
const KINDS = { "groups-map": "groups", "experts-map": "experts" };
const picker = element.querySelector(".picker");
let pick = null; // {plot, from: [row, layer], to: [row, layer], table: the table it was picked in}
let drag = null; // {panel, before}: the picture that a pointer went down on, and what was picked then
let words = "";

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const span = (a, b) => (a === b ? `layer ${a}` : `layers ${a}–${b}`);
const hostOf = (plot) => document.getElementById(plot);

// The heatmaps of one picture.  box: the plotting area, as Plotly drew it
const panelsOf = (plot) => {
  const drawn = hostOf(plot)?.querySelector(".js-plotly-plot");
  return (drawn?.data ?? []).filter(({ meta }) => meta?.targets).map(({ meta, z, text, x, xaxis, yaxis }) => {
    const each = z.length / meta.targets.length, own = (rows) => rows && meta.targets.map((_, i) => rows[(i + 1) * each - 1]);
    return { ...meta, layers: x.length, percents: own(z), words: own(text), box: drawn.querySelector(`.nsewdrag[data-subplot="${xaxis ?? "x"}${yaxis ?? "y"}"]`) };
  });
};
const rowsOf = (plot) => panelsOf(plot).flatMap(({ targets, percents, words }) => targets.map((target, i) => ({ target, percents: percents[i], words: words?.[i] })));

const build = (plot) => {
  const grid = document.createElement("div");
  grid.className = "cell-grid";
  for (const [name, value] of [["role", "grid"], ["aria-multiselectable", "true"], ["aria-label", `Shares in force, ${KINDS[plot]} by layer`], ["aria-describedby", "cells-hint"]]) grid.setAttribute(name, value);
  let row = 0;
  grid.append(...panelsOf(plot).map(({ targets, layers }) => {
    const panel = document.createElement("div");
    panel.setAttribute("role", "rowgroup");
    panel.append(...targets.map((target) => {
      const line = document.createElement("div");
      line.setAttribute("role", "row");
      line.append(...Array.from({ length: layers }, (_, layer) => {
        const cell = document.createElement("div");
        cell.setAttribute("role", "gridcell");
        cell.setAttribute("aria-selected", "false");
        cell.tabIndex = row || layer ? -1 : 0;
        Object.assign(cell.dataset, { row, layer });
        return cell;
      }));
      row += 1;
      return line;
    }));
    return panel;
  }));
  return grid;
};

const cellAt = (plot, [row, layer]) => hostOf(plot)?.querySelector(`[data-row="${row}"][data-layer="${layer}"]`);
// In the table by layer, or in that by thirds, where a cell stands for several layers.
const inTable = ({ plot, table }, at) => document.querySelector(`#${table} [data-cell="${plot}"]:is([data-at="${at}"], [data-to="${at}"])`);
const shownAt = (chosen, at) => (chosen.table ? inTable(chosen, at) : cellAt(chosen.plot, at));
const bounds = () => [0, 1].flatMap((k) => [Math.min(pick.from[k], pick.to[k]), Math.max(pick.from[k], pick.to[k])]); // [row, row, layer, layer]

const place = (plot) => {
  const host = hostOf(plot), panels = panelsOf(plot);
  if (!panels.length || !panels.every(({ box }) => box)) return;
  let grid = host.querySelector(".cell-grid");
  if (!grid) host.append((grid = build(plot)));
  const at = host.getBoundingClientRect();
  panels.forEach(({ box, targets, words }, i) => {
    const { left, top, width, height } = box.getBoundingClientRect(), panel = grid.children[i];
    Object.assign(panel.style, { left: `${left - at.left}px`, top: `${top - at.top}px`, width: `${width}px`, height: `${height}px` });
    targets.forEach((target, r) => [...panel.children[r].children].forEach((cell, layer) => {
      const said = words ? words[r][layer] : `${target}, layer ${layer}`;
      if (cell.ariaLabel !== said) cell.ariaLabel = said;
    }));
  });
  mark(plot);
};

const mark = (plot) => {
  const [top, bottom, first, last] = pick?.plot === plot ? bounds() : [1, 0, 1, 0];
  for (const cell of hostOf(plot)?.querySelectorAll(".cell-grid [role=gridcell]") ?? []) {
    const { row, layer } = cell.dataset, inside = top <= row && row <= bottom && first <= layer && layer <= last;
    if ((cell.ariaSelected === "true") !== inside) cell.ariaSelected = String(inside);
  }
  for (const cell of document.querySelectorAll(`[data-cell="${plot}"]`)) {
    const [row, layer] = cell.dataset.at.split(",").map(Number);
    cell.ariaPressed = String(top <= row && row <= bottom && first <= layer && layer <= last);
  }
};

const said = () => {
  const [top, bottom, first, last] = bounds(), names = rowsOf(pick.plot).slice(top, bottom + 1).map((row) => row.target);
  return `${span(first, last)} of ${names.length > 3 ? `${names.length} ${KINDS[pick.plot]}, ${names[0]} to ${names.at(-1)}` : names.join(", ")}`;
};

const draw = () => {
  Object.keys(KINDS).forEach(mark);
  picker.hidden = !pick || drag !== null || !inSight();
  document.body.toggleAttribute("data-picking", !picker.hidden);
  const now = pick ? `Picked: ${said()}` : "";
  if (now !== words) bar("picked").textContent = words = now;
  if (!pick) return;
  const [top, bottom, first, last] = bounds(), rows = rowsOf(pick.plot);
  for (const input of [bar("first"), bar("last")]) input.max = rows[0].percents.length - 1;
  [bar("first").value, bar("last").value] = [first, last];
  const shares = rows.slice(top, bottom + 1).flatMap(({ percents }) => percents.slice(first, last + 1)).filter((share) => share !== null);
  // Where the cells differ no one number is theirs; between which they lie is told, and a number is asked for.
  const [least, most] = [Math.round(Math.min(...shares)), Math.round(Math.max(...shares))];
  bar("share").value = shares.length && least === most ? least : "";
  bar("share").placeholder = shares.length && least !== most ? `${least}–${most}` : "";
  beside();
};

// Whether what was picked is on show; it may be in a place whose turn it is not.
const inSight = () => shownAt(pick, pick.to)?.checkVisibility({ visibilityProperty: true }) ?? false;

// The popover lies beside the cells: below them, or above where there is no room, and never over the edge of the window.
const beside = () => {
  if (picker.hidden) return;
  const [top, bottom, first, last] = bounds();
  const [one, other] = [shownAt(pick, [top, first]), shownAt(pick, [bottom, last])].map((cell) => cell?.getBoundingClientRect());
  if (!one || !other) return;
  const { width, height } = picker.getBoundingClientRect(), below = other.bottom + 6;
  const y = below + height <= innerHeight - 4 ? below : Math.max(4, one.top - height - 6);
  Object.assign(picker.style, { left: `${clamp((one.left + other.right - width) / 2, 4, innerWidth - width - 4)}px`, top: `${y}px` });
};

// One cell of a grid is reached by Tab, the others by arrows from there.
const rove = (plot, at) => {
  for (const cell of hostOf(plot).querySelectorAll('.cell-grid [tabindex="0"]')) cell.tabIndex = -1;
  const cell = cellAt(plot, at);
  cell.tabIndex = 0;
  return cell;
};
const focus = (plot, at) => rove(plot, at).focus();

const choose = (chosen) => {
  pick = chosen;
  if (pick && cellAt(pick.plot, pick.to)) rove(pick.plot, pick.to);
  bar("refusal").textContent = "";
  draw();
};

// The cell under a pointer, or the nearest one of `panel` where that is given. → [panel, [row, layer]] or null
const under = (plot, { clientX, clientY }, panel) => {
  const panels = panelsOf(plot), rows = rowsOf(plot);
  for (const [i, { box, targets, layers }] of panels.entries()) {
    if (!box) continue;
    const { left, top, width, height, bottom, right } = box.getBoundingClientRect();
    const inside = clientY >= top && clientY <= bottom && clientX >= left && clientX <= right;
    const nearest = panel !== undefined && (clientY <= bottom || i === panels.length - 1);
    if (!inside && !nearest) continue;
    const row = clamp(Math.floor(((clientY - top) / height) * targets.length), 0, targets.length - 1);
    return [i, [rows.findIndex(({ target }) => target === targets[row]), clamp(Math.floor(((clientX - left) / width) * layers), 0, layers - 1)]];
  }
  return null;
};

on(document, "pointerdown", (event) => {
  const plot = Object.keys(KINDS).find((name) => hostOf(name)?.contains(event.target));
  const found = plot && event.button === 0 && under(plot, event);
  if (!found) return;
  drag = { panel: found[0], before: pick };
  choose({ plot, from: event.shiftKey && pick?.plot === plot ? pick.from : found[1], to: found[1] });
});
on(document, "pointermove", (event) => {
  if (!drag) return;
  const found = under(pick.plot, event, drag.panel);
  if (found && String(found[1]) !== String(pick.to)) choose({ ...pick, to: found[1] });
});
on(document, "pointerup", () => {
  const ended = drag !== null;
  drag = null;
  if (ended) draw();
});
on(document, "pointercancel", () => { // a finger that scrolls the page picks nothing
  const before = drag?.before;
  drag = null;
  if (before !== undefined) choose(before);
});
on(document, "click", ({ target, shiftKey }) => {
  const cell = target.closest?.("[data-cell]");
  if (!cell) return;
  const [at, to] = [cell.dataset.at, cell.dataset.to ?? cell.dataset.at].map((place) => place.split(",").map(Number)), plot = cell.dataset.cell;
  choose({ plot, from: shiftKey && pick?.plot === plot ? pick.from : at, to, table: cell.closest("#thirds") ? "thirds" : "table" });
  bar("share").focus(), bar("share").select();
});
// In the table arrows go from share to share; Tab leaves it.
on(document, "keydown", (event) => {
  const cell = event.target.closest?.("#table [data-cell]"), by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!cell || !by || event.ctrlKey || event.altKey || event.metaKey) return;
  const td = cell.parentElement, row = td.parentElement, rows = [...row.parentElement.children];
  rows[rows.indexOf(row) + by[0]]?.children[[...row.children].indexOf(td) + by[1]]?.querySelector("button")?.focus();
  event.preventDefault();
});

on(document, "keydown", (event) => {
  const cell = event.target.closest?.(".cell-grid [role=gridcell]");
  if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
  const plot = Object.keys(KINDS).find((name) => hostOf(name).contains(cell)), rows = rowsOf(plot), layers = rows[0].percents.length;
  const here = [Number(cell.dataset.row), Number(cell.dataset.layer)], [row, layer] = here;
  const there = { ArrowUp: [row - 1, layer], ArrowDown: [row + 1, layer], ArrowLeft: [row, layer - 1], ArrowRight: [row, layer + 1], Home: [row, 0], End: [row, layers - 1] }[event.key];
  if (there) {
    const to = [clamp(there[0], 0, rows.length - 1), clamp(there[1], 0, layers - 1)];
    if (event.shiftKey) choose({ plot, from: pick?.plot === plot && String(pick.to) === String(here) ? pick.from : here, to });
    focus(plot, to);
  } else if (event.key === " " || event.key === "Enter") {
    if (cell.ariaSelected !== "true") choose({ plot, from: here, to: here });
    if (event.key === "Enter") bar("share").focus(), bar("share").select(); // what is typed replaces it
  } else if (event.key === "Escape") choose(null);
  else return;
  event.preventDefault();
});

const close = () => {
  const left = pick;
  choose(null);
  (left.table ? inTable(left, left.to) : rove(left.plot, left.to))?.focus();
};
const act = (detail) => {
  bar("refusal").textContent = "";
  document.dispatchEvent(new CustomEvent("atmoe:cells", { detail }));
};
const setPicked = (state) => {
  if (!pick) return;
  const [top, bottom, first, last] = bounds(), share = bar("share").value;
  if (state === "fixed" && (share === "" || share < 0 || share > 100)) bar("refusal").textContent = "A share is between 0% and 100%; enter one.";
  else act({ targets: rowsOf(pick.plot).slice(top, bottom + 1).map((row) => row.target), first, last, state, share: Number(share) });
};

on(element, "click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.state) setPicked(button.dataset.state);
  else if (button?.dataset.part === "unpick") close();
});
on(element, "keydown", (event) => {
  if (event.key === "Enter" && event.target === bar("share")) setPicked("fixed");
});
// Wherever the keyboard is: a mouse that picks leaves it where it was.
on(document, "keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || !pick || picker.hidden) return;
  if (element.contains(document.activeElement) || document.activeElement === document.body) close();
  else choose(null);
});
on(element, "change", ({ target }) => {
  if (target !== bar("first") && target !== bar("last")) return;
  const most = Number(target.max), [top, bottom, first, last] = bounds(), value = target.value === "" ? NaN : Math.round(target.value);
  const layer = Number.isNaN(value) ? (target === bar("first") ? first : last) : clamp(value, 0, most);
  const [from, to] = target === bar("first") ? [layer, Math.max(layer, last)] : [Math.min(layer, first), layer];
  choose({ ...pick, from: [top, from], to: [bottom, to] });
});

on(document, "atmoe:refused", ({ detail }) => (bar("refusal").textContent = detail));

let due = false;
const settle = () => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    Object.keys(KINDS).forEach(place);
    if (pick && picker.hidden) draw(); // its cells may be back
  });
};
// Whatever Plotly or Gradio redraws, but not what is written here.
const redrawn = new MutationObserver((changes) => {
  if (changes.some(({ target }) => !target.closest?.(".cell-grid, #cells"))) settle();
});
const resized = new ResizeObserver(settle);
const turned = new MutationObserver(draw);
const watchPictures = () => {
  if (signal.aborted) return;
  const places = ["tabs", ...Object.keys(KINDS)].map((name) => document.getElementById(name));
  if (places.includes(null)) return requestAnimationFrame(watchPictures); // Gradio has not built them yet
  redrawn.observe(places[0], { childList: true, subtree: true });
  for (const place of places[0].querySelectorAll(".place")) turned.observe(place, { attributeFilter: ["class"] });
  places.forEach((place) => resized.observe(place));
  settle();
};
watchPictures();
on(window, "scroll", () => requestAnimationFrame(beside));
signal.addEventListener("abort", () => (redrawn.disconnect(), resized.disconnect(), turned.disconnect()));
draw();

// The guided minute. Each step is a small card beside what it speaks of, never over it; nothing on the page moves, and
// the page stays in use while a card is open. Who closed it once is not shown it again, but for the button "Tour".
// steps: [{anchor: id, title, words}]
(steps) => {
  const KEY = "atmoe-tour-1", GAP = 10, EDGE = 8;
  const button = document.querySelector("#tour-button");
  let at = 0, card = null, ring = null, before = null, timer = 0;

  // In a frame without storage this throws: the tour is then shown once a visit.
  const closedBefore = () => {
    try {
      return localStorage.getItem(KEY) !== null;
    } catch {
      return false;
    }
  };
  const remember = () => {
    try {
      localStorage.setItem(KEY, "closed");
    } catch {
      // nothing to be done
    }
  };

  const anchor = () => document.getElementById(steps[at].anchor);
  const clamp = (value, least, most) => Math.max(least, Math.min(value, most));
  const fixed = (element) => getComputedStyle(element).position === "fixed";
  // The part of it that is in sight. On a phone the levers lie over the lower edge.
  const seen = (element) => {
    const sheet = document.getElementById("steer"), over = sheet && sheet !== element && fixed(sheet);
    const floor = over ? sheet.getBoundingClientRect().top : innerHeight;
    const { left, top, right, bottom } = element.getBoundingClientRect();
    const box = { left: Math.max(left, 0), top: Math.max(top, 0), right: Math.min(right, innerWidth), bottom: Math.min(bottom, floor) };
    return box.right - box.left > 1 && box.bottom - box.top > 1 ? box : null;
  };
  // Whether less of it is in sight than could be.
  const little = (element) => {
    if (fixed(element)) return false;
    const box = seen(element);
    return !box || box.bottom - box.top < Math.min(element.offsetHeight, 0.4 * innerHeight) - 1;
  };
  // A corner for the card: beside, below or above, where it fits without covering what it speaks of.
  const corner = (box, width, height) => {
    const x = clamp(box.left, EDGE, innerWidth - width - EDGE), y = clamp(box.top, EDGE, innerHeight - height - EDGE);
    return [
      [box.bottom + GAP + height <= innerHeight - EDGE, x, box.bottom + GAP],
      [box.right + GAP + width <= innerWidth - EDGE, box.right + GAP, y],
      [box.top - GAP - height >= EDGE, x, box.top - GAP - height],
      [box.left - GAP - width >= EDGE, box.left - GAP - width, y],
    ].find(([fits]) => fits);
  };

  // → whether there was room
  const place = () => {
    const about = anchor(), box = about && seen(about);
    const { offsetWidth: width, offsetHeight: height } = card;
    ring.hidden = !box;
    if (!box) {
      Object.assign(card.style, { left: `${(innerWidth - width) / 2}px`, top: `${innerHeight - height - EDGE}px` });
      return true;
    }
    Object.assign(ring.style, { left: `${box.left}px`, top: `${box.top}px`, width: `${box.right - box.left}px`, height: `${box.bottom - box.top}px` });
    const found = corner(box, width, height), [, x, y] = found ?? [0, clamp(box.left, EDGE, innerWidth - width - EDGE), EDGE];
    Object.assign(card.style, { left: `${x}px`, top: `${y}px` });
    return found !== undefined;
  };
  const follow = () => card && place();

  const show = () => {
    const { title, words } = steps[at], last = at === steps.length - 1;
    card.setAttribute("aria-label", `Tour, step ${at + 1} of ${steps.length}: ${title}`);
    card.querySelector("h2").textContent = title;
    card.querySelector("p").textContent = words;
    card.querySelector("[data-step]").textContent = `${at + 1} of ${steps.length}`;
    card.querySelector("[data-go=back]").disabled = at === 0;
    card.querySelector("[data-go=next]").textContent = last ? "Done" : "Next";
    card.querySelector("[data-go=skip]").hidden = last;
    const about = anchor();
    const room = place();
    // On a phone little of it may be in sight, or nothing else: its beginning then goes below the card.
    if (about && (!room || little(about))) {
      window.scrollBy(0, about.getBoundingClientRect().top - card.offsetHeight - EDGE - GAP);
      place();
    }
  };

  const close = () => {
    remember();
    clearInterval(timer);
    removeEventListener("scroll", follow, true);
    removeEventListener("resize", follow);
    document.removeEventListener("keydown", escape, true);
    const inside = card.contains(document.activeElement);
    card.remove();
    ring.remove();
    card = ring = null;
    if (inside) (before?.isConnected && before !== document.body ? before : document.querySelector("#question textarea, #question input"))?.focus({ preventScroll: true });
  };
  const escape = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // what else Escape closes stays open
    close();
  };
  const go = ({ target }) => {
    const way = target.closest("[data-go]")?.dataset.go;
    if (way === "skip" || (way === "next" && at === steps.length - 1)) return close();
    if (way === "next") at += 1;
    else if (way === "back") at -= 1;
    else return;
    show();
    if (way === "back" && at === 0) card.querySelector("[data-go=next]").focus();
  };

  const open = () => {
    if (card) return;
    at = 0;
    before = document.activeElement;
    ring = Object.assign(document.createElement("div"), { className: "tour-ring" });
    card = Object.assign(document.createElement("div"), { className: "tour-card", innerHTML: '<h2></h2><p></p><div><small data-step></small><button type="button" data-go="skip">Skip</button><button type="button" data-go="back">Back</button><button type="button" data-go="next">Next</button></div>' });
    card.setAttribute("role", "dialog");
    card.addEventListener("click", go);
    // Among what is styled as the page is; both are fixed, and take no room there.
    document.querySelector("#header").after(card, ring);
    timer = setInterval(follow, 200); // what it speaks of may grow, or be drawn only now
    addEventListener("scroll", follow, { capture: true, passive: true });
    addEventListener("resize", follow);
    document.addEventListener("keydown", escape, true);
    show();
    // Whoever types already goes on typing.
    if (!before?.matches("input, textarea")) card.querySelector("[data-go=next]").focus({ preventScroll: true });
  };

  button.setAttribute("aria-haspopup", "dialog"); // only now: before, nobody would hear the click
  button.addEventListener("click", open);
  if (!closedBefore()) open();
}

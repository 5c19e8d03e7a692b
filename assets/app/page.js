// What Gradio leaves undone for people at a keyboard or with a screen reader. Runs once, when the page has loaded.
() => {
  const bench = document.querySelector("#bench");
  // Its sets of radio buttons show a name but do not carry one.
  for (const info of document.querySelectorAll("fieldset [data-testid=block-info]"))
    info.closest("fieldset").setAttribute("aria-label", info.textContent.trim());
  const settings = document.querySelector("#settings-button");
  const open = (yes) => settings.setAttribute("aria-expanded", yes);
  settings.addEventListener("click", () => open(settings.getAttribute("aria-expanded") !== "true"));
  open(false);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && settings.ariaExpanded === "true" && (open(false), settings.focus()));
  document.addEventListener("pointerdown", ({ target }) => target.closest("#settings") || open(false));
  // What unfolds over the page is closed by Escape, as every other overlay is.
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    for (const unfolded of document.querySelectorAll("details.popover[open], details.rest[open]")) {
      unfolded.open = false;
      if (unfolded.contains(document.activeElement)) unfolded.querySelector("summary").focus();
    }
  });
  // An answer whose question, or whose settings, are no longer those on the page is shown as old.
  const settingsNow = () => ["number input for Longest answer, tokens", "number input for Temperature", "Seed"].map((name) => {
    const input = [...document.querySelectorAll("#settings-body input[type=number]")].find((one) => one.ariaLabel === name || one.closest("label")?.textContent.includes(name));
    return Number(input?.value);
  }).join(" ");
  // A question as it is read (`check_question` in atmoe/prompt/words.py), but for its line breaks.
  const CAPITALS = 12, small = (text) => text.slice(0, 1) + text.slice(1).toLowerCase();
  const shouted = (text) => text === text.toUpperCase() && (text.match(/\p{Lu}/gu) ?? []).length >= CAPITALS;
  const plain = (text) => text.replace(/(?<=\p{L})[’‘‛ʼ′´`＇](?=\p{L})/gu, "'").replace(/[\u2010\u2011]/g, "-")
    .replace(/[\ufb00-\ufb06\u2080-\u2089]/g, (sign) => sign.normalize("NFKC"));
  const bare = (text) => {
    const one = plain(text.normalize("NFC").replace(/\p{Cf}/gu, "").replace(/\s+/g, " ").trim());
    return shouted(one) ? small(one) : one;
  };
  const markOld = () => {
    const box = bare(document.querySelector("#question textarea, #question input")?.value ?? "");
    for (const [area, place] of [["answer", "first"], ["steered", "second"]]) {
      const of = document.querySelector(`#${place}-asked .of`);
      const held = of !== null && box !== "", another = held && bare(of.dataset.question) !== box;
      const stale = another || (held && of.dataset.sampling !== undefined && of.dataset.sampling !== settingsNow());
      const classes = document.getElementById(area)?.classList;
      classes?.toggle("stale", stale);
      classes?.toggle("another", another);
    }
    // What else is told is of the router's answer, and as old as that.
    const { classList } = document.getElementById("answer");
    for (const old of ["stale", "another"]) bench.toggleAttribute(`data-${old}`, classList.contains(old));
  };
  // What the server says of two events may come in any order: what came late is of another question, other settings or
  // another steering than its heading says. Each part says what it is of, `question.settings.steering` (app/whose.py), of
  // which an empty piece is any. An answer that is not its heading's is not shown; what is told of answers is marked as old.
  const fits = (own, heads) => own === "" || heads.some((head) => own.split(".").every((piece, i) => !piece || !head.split(".")[i] || piece === head.split(".")[i]));
  const ofs = (place) => [...document.querySelectorAll(`#${place} [data-of]`)].flatMap(({ dataset }) => dataset.of.split(" "));
  const drawn = (place) => document.querySelector(`#${place} .js-plotly-plot`)?.layout?.meta?.of ?? "";
  const mark = (place, of, heads) => {
    const foreign = !of.every((own) => fits(own, heads));
    document.getElementById(place)?.toggleAttribute("data-foreign", foreign);
    return foreign;
  };
  const LATE = 4000; // ms; a plan that is late for longer than that is asked for anew, once a question
  let lateSince = null, asked = null;
  const judge = () => {
    const [first, second] = ["first", "second"].map((place) => {
      const head = ofs(`${place}-asked`)[0] ?? "";
      const said = [place, `${place}-facts`].map((part) => [part, ofs(part)]);
      for (const [part, of] of said) document.getElementById(part)?.toggleAttribute("data-foreign", of.some((own) => own !== head));
      const copy = document.getElementById(`copy-${place}`);
      if (copy) copy.disabled = !document.querySelector(`#${place}-asked .of`) || document.getElementById(place).hasAttribute("data-foreign");
      return head;
    });
    const heads = [first, second].filter(Boolean), panel = document.querySelector("#panel.levers, #panel .levers")?.dataset.of ?? "";
    for (const place of ["difference", "why", "what-if", "drafts", "compare", "models"]) mark(place, ofs(place), heads);
    // What shows a plan is of a question, whatever its settings, and of the steering that the controls show.
    const question = first.split(".")[0], plan = first && [`${question}..${panel.split(".")[2] ?? ""}`];
    const late = [["panel", [panel]], ["words", ofs("sources")], ["weights", [...ofs("thirds"), drawn("groups-map"), drawn("experts-map")]], ["by-layer", ofs("by-layer")]]
      .map(([place, of]) => mark(place, plan ? of : [], plan || [])).includes(true);
    const answered = document.querySelector("#first .passage:not(.told)") !== null; // before that there may be no plan yet
    if (!late || !answered || asked === first) return void (lateSince = null);
    if (performance.now() - (lateSince ??= performance.now()) < LATE) return;
    asked = first;
    document.dispatchEvent(new Event("atmoe:late"));
  };
  const watched = new MutationObserver(judge);
  for (const place of ["first-asked", "first", "first-facts", "second-asked", "second", "second-facts"]) watched.observe(document.getElementById(place), { childList: true, subtree: true, attributeFilter: ["data-of"] });
  const markWords = () => bench.toggleAttribute("data-marking", Boolean(document.querySelector("#mark-words input")?.checked));
  document.querySelector("#mark-words").addEventListener("change", markWords);
  // On a narrow screen one answer is shown at a time: yours as soon as it begins.
  const buttons = [...document.querySelectorAll("#which-answer [data-show]")];
  const show = (which) => {
    bench.dataset.show = which;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.show === which);
    if (which === "difference") document.getElementById("compare-tab").click();
  };
  for (const button of buttons) button.addEventListener("click", () => {
    show(button.dataset.show);
    if (button.dataset.show === "difference") document.getElementById("places").scrollIntoView(); // it lies far below
  });
  show("router");
  let steered = false;
  setInterval(() => {
    markOld();
    judge();
    const now = document.querySelector("#second-asked .of") !== null;
    if (now !== steered) show(now ? "yours" : "router");
    steered = now;
    const mark = document.querySelector("#mark-words input");
    if (mark) mark.disabled = !mark.checked && document.querySelector("mark.differs") === null;
    markWords();
  }, 200);
  // A refusal is closed by its button, or by Escape.
  const message = document.getElementById("message"), unsay = () => message.querySelector(".message")?.setAttribute("hidden", "");
  message.addEventListener("click", ({ target }) => target.closest("button") && unsay());
  document.addEventListener("keydown", ({ key }) => key === "Escape" && unsay());
  // Enter sends already; Ctrl-Enter or Cmd-Enter, the habit from longer forms, must too.
  const ask = document.getElementById("ask"), box = document.querySelector("#question textarea, #question input");
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("#answer-button").click();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) sent();
  });
  // A long question gives way to its answer once it is sent, and grows again under whoever comes back to it.
  const sent = () => {
    ask.toggleAttribute("data-sent", true);
    setTimeout(() => (box.scrollTop = 0));
  };
  document.getElementById("answer-button").addEventListener("click", sent);
  for (const kind of ["input", "focus", "pointerdown"]) box.addEventListener(kind, () => ask.removeAttribute("data-sent"));
}

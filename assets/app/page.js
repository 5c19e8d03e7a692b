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
  const bare = (text) => text.normalize("NFC").replace(/\p{Cf}/gu, "").replace(/\s+/g, " ").trim();
  const markOld = () => {
    const box = bare(document.querySelector("#question textarea, #question input")?.value ?? "");
    for (const [area, place] of [["answer", "first"], ["steered", "second"]]) {
      const of = document.querySelector(`#${place}-asked .of`);
      const held = of !== null && box !== "", another = held && bare(of.dataset.question) !== box;
      const stale = another || (held && of.dataset.sampling !== undefined && of.dataset.sampling !== settingsNow());
      const classes = document.getElementById(area)?.classList;
      classes?.toggle("stale", stale);
      classes?.toggle("another", another);
      const copy = document.getElementById(`copy-${place}`);
      if (copy) copy.disabled = of === null;
    }
    // What else is told is of the router's answer, and as old as that.
    const { classList } = document.getElementById("answer");
    for (const old of ["stale", "another"]) bench.toggleAttribute(`data-${old}`, classList.contains(old));
  };
  const markWords = () => bench.toggleAttribute("data-marking", Boolean(document.querySelector("#mark-words input")?.checked));
  document.querySelector("#mark-words").addEventListener("change", markWords);
  // On a narrow screen one answer is shown at a time: yours as soon as it begins.
  const buttons = [...document.querySelectorAll("#which-answer [data-show]")];
  const show = (which) => {
    bench.dataset.show = which;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.show === which);
    if (which === "difference") document.getElementById("compare-tab").click();
  };
  for (const button of buttons) button.addEventListener("click", () => show(button.dataset.show));
  show("router");
  let steered = false;
  setInterval(() => {
    markOld();
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
  const ask = document.getElementById("ask"), asked = document.querySelector("#question textarea, #question input");
  asked.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.querySelector("#answer-button").click();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) sent();
  });
  // A long question gives way to its answer once it is sent, and grows again under whoever comes back to it.
  const sent = () => {
    ask.toggleAttribute("data-sent", true);
    setTimeout(() => (asked.scrollTop = 0));
  };
  document.getElementById("answer-button").addEventListener("click", sent);
  for (const kind of ["input", "focus", "pointerdown"]) asked.addEventListener(kind, () => ask.removeAttribute("data-sent"));
}

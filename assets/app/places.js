// One place for several things, of which one is on show: a bar of tabs as the ARIA practices describe it.
() => {
  const tabs = [...document.querySelectorAll("#places [role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const show = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).classList.toggle("shown", tab === chosen);
    }
  };
  for (const tab of tabs) {
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
    panel(tab).tabIndex = 0;
    tab.addEventListener("click", () => show(tab));
    tab.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(tab), to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      show(next), next.focus();
    });
  }
  show(tabs[0]);
}

// What a part of the page holds, as an attribute of what stands around it, for the style sheets. They could ask by :has(),
// but then the browser styles the whole page anew at each word of an answer. Runs once, when the page has loaded.
() => {
  const MARKS = { // where it lies: a selector of it, who gets the attribute, which
    "#message": [[".message:not([hidden])", "#message", "data-says"], [".message:not([hidden])", "#question", "data-refused"]],
    "#first-asked": [[".caution", "#answer > .titled", "data-cautioned"]],
    "#second-asked": [[".caution", "#steered > .titled", "data-cautioned"]],
    "#first-facts": [["details[open]", "#first-facts", "data-unfolded"], [".cut", "#answer", "data-cut"]],
    "#second-facts": [["details[open]", "#second-facts", "data-unfolded"], [".cut", "#steered", "data-cut"]],
    "#third-facts": [["details[open]", "#third-facts", "data-unfolded"]],
    "#dose-table": [["table", "#what-if", "data-dosed"]],
    "#link-said": [["p", "#link-bar", "data-says"], ["[data-again]", "#link-bar", "data-again"]],
  };
  for (const [at, marks] of Object.entries(MARKS)) {
    const place = document.querySelector(at);
    const look = () => {
      for (const [what, who, mark] of marks) document.querySelector(who).toggleAttribute(mark, place.querySelector(what) !== null);
    };
    new MutationObserver(look).observe(place, { childList: true, subtree: true, attributeFilter: ["hidden", "open"] });
    look();
  }
}

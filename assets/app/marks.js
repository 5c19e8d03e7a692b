// What a part of the page holds, as an attribute of what stands around it, for the style sheets. They could ask by :has(),
// but then the browser styles the whole page anew at each word of an answer. Runs once, when the page has loaded.
() => {
  const MARKS = [ // where it lies, a selector of it, who gets the attribute, which
    ["#message", ".message:not([hidden])", "#message", "data-says"],
    ["#message", ".message:not([hidden])", "#question", "data-refused"],
    ["#first-facts", "details[open]", "#first-facts", "data-unfolded"],
    ["#second-facts", "details[open]", "#second-facts", "data-unfolded"],
    ["#third-facts", "details[open]", "#third-facts", "data-unfolded"],
    ["#first-facts", ".cut", "#answer", "data-cut"],
    ["#second-facts", ".cut", "#steered", "data-cut"],
    ["#first-asked", ".caution", "#answer > .titled", "data-cautioned"],
    ["#second-asked", ".caution", "#steered > .titled", "data-cautioned"],
    ["#dose-table", "table", "#what-if", "data-dosed"],
    ["#link-said", "p", "#link-bar", "data-says"],
    ["#link-said", "[data-again]", "#link-bar", "data-again"],
  ];
  for (const [at, what, who, mark] of MARKS) {
    const place = document.querySelector(at), around = document.querySelector(who);
    const look = () => around.toggleAttribute(mark, place.querySelector(what) !== null);
    new MutationObserver(look).observe(place, { childList: true, subtree: true, attributes: true, attributeFilter: ["hidden", "open"] });
    look();
  }
}

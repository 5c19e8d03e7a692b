// Every figure of the page as SVG and PNG, every table as CSV: made in the browser, and nothing is asked of anybody.
// Listed as they stand on the page; `element` is the list's own.
window.atmoeTake?.abort(); // Gradio may build this component anew.
const { signal } = (window.atmoeTake = new AbortController());
const SCALE = 2; // pixels of a PNG to one of the page

const clean = (text) => text.replace(/\s+/g, " ").trim();
const titleOf = (place) => clean(document.getElementById(`${place.id}-tab`)?.textContent ?? "");
const figures = () => [...document.querySelectorAll(".place .figure")].flatMap((figure) => {
  const drawn = figure.querySelector(".js-plotly-plot");
  return drawn?.data?.length ? [{ name: clean(figure.querySelector("label")?.textContent ?? "Figure"), drawn }] : [];
});
const tables = () => [...document.querySelectorAll(".place table")].map((table) => ({
  name: `${titleOf(table.closest(".place"))}: ${clean(table.dataset.name ?? table.caption?.textContent ?? "table")}`, table,
}));

// A cell as a spreadsheet reads it: a number with a plain minus, and no text that it would take for a formula
// (`cell_of` in atmoe/many/fields.py is the same rule).
const NUMBER = /^[+−-]?(\d+\.?\d*|\.\d+)( ?[%×])?$/;
const cell = (text) => {
  const plain = clean(text), number = NUMBER.test(plain);
  const safe = number ? plain.replace("−", "-") : /^'*[=@+−-]/.test(plain) ? `'${plain}` : plain;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
// Cells that span several columns or rows leave those they cover empty.
const rowsOf = (table, of = textOf) => {
  const grid = [];
  [...table.rows].forEach((row, y) => {
    grid[y] ??= [];
    let x = 0;
    for (const each of row.cells) {
      if (each.dataset.csv === "skip") continue;
      while (grid[y][x] !== undefined) x++;
      for (let down = 0; down < each.rowSpan; down++)
        for (let along = 0; along < each.colSpan; along++)
          (grid[y + down] ??= [])[x + along] = down || along ? "" : of(each);
      x += each.colSpan;
    }
  });
  return grid;
};
// What stands for eyes alone, or for a screen reader besides, is left out where it says the same twice; and what says
// another thing beside a number, so that the number stays one.
const textOf = (each) => {
  const copy = each.cloneNode(true);
  for (const part of copy.querySelectorAll('svg, button[aria-hidden], [data-csv="skip"]')) part.remove();
  for (const part of copy.querySelectorAll("small, br")) part.prepend(" ");
  return copy.textContent;
};
// A table of shares says in its file, besides those in force, the router's, which stand there only where they differ,
// and of which question and steering they are.
const routerOf = (each) => each.querySelector("small")?.textContent.replace(/^router /, "") ?? textOf(each);
const wholeOf = (table) => {
  const rows = rowsOf(table), { prompt, steering } = table.dataset;
  if (steering === undefined) return rows;
  const router = rowsOf(table, routerOf), [head] = rows;
  return rows.map((row, y) => y === 0
    ? [...row, ...head.slice(1).map((name) => `${name}, router`), "question", "steering"]
    : [...row, ...router[y].slice(1), prompt, steering]);
};
const csv = (table) => "\ufeff" + wholeOf(table).map((row) => Array.from(row, (text) => cell(text ?? "")).join(",")).join("\r\n") + "\r\n";

const save = (name, href) => {
  const link = Object.assign(document.createElement("a"), { href, download: name });
  document.body.append(link), link.click(), link.remove();
};
const fileOf = (name, ending) => `atmoe-${name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}.${ending}`;
const image = async ({ name, drawn }, format) => {
  const { width, height } = drawn._fullLayout;
  const signs = ["dark: 0%, light: 100%", ...(drawn.layout.meta?.signs ?? [])].join("; ");
  const scaled = drawn.data.some((trace) => trace.type === "heatmap") ? ` (${signs})` : "";
  const layout = { ...drawn.layout, paper_bgcolor: "#fff", font: { ...drawn.layout.font, color: "#111" }, title: { text: name + scaled, font: { size: 13 } } };
  layout.margin = { ...layout.margin, t: (layout.margin?.t ?? 0) + 30 };
  const scale = format === "png" ? SCALE : 1;
  const made = await window.Plotly.toImage({ data: drawn.data, layout }, { format, width, height: height + 30, scale });
  save(fileOf(name, format), made);
};
const text = ({ name, table }) => {
  const href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv;charset=utf-8" }));
  save(fileOf(name, "csv"), href);
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
};

const row = (name, buttons) => {
  const line = document.createElement("li"), label = document.createElement("span");
  label.textContent = name;
  line.append(label, ...buttons.map(([format, make]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: format });
    button.setAttribute("aria-label", `${name} as ${format}`);
    button.addEventListener("click", make);
    return button;
  }));
  return line;
};
const list = () => {
  const rows = [
    ...figures().map((each) => row(each.name, [["SVG", () => image(each, "svg")], ["PNG", () => image(each, "png")]])),
    ...tables().map((each) => row(each.name, [["CSV", () => text(each)]])),
  ];
  element.querySelector("ul").replaceChildren(...rows);
};
// Made anew when its place opens, so that it holds what there is then.
document.addEventListener("click", (event) => event.target.closest?.("#keep-tab") && list(), { signal });
document.addEventListener("keydown", (event) => event.target.closest?.("#places") && setTimeout(list), { signal });

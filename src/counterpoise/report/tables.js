// Tables: sorting by a heading, tabs between the groups of classes, and the rows of the chosen run.

function sortValue(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replace(/[,<\u2212+]/g, (sign) => (sign === "\u2212" ? "-" : "")));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function sortBy(table, column, ascending) {
  const rows = [...table.tBodies[0].rows];
  const keyed = rows.map((row) => [sortValue(row.cells[column]), row]);
  keyed.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : ascending ? compare(a, b) : compare(b, a)));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const ascending = before ? before === "descending" : !numeric;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, column, ascending);
    });
  });
}

function makeTabs() {
  const groups = [...document.querySelectorAll(".group-table")];
  const bar = byId("method-tabs");
  if (groups.length < 2) return;
  const show = (chosen) => {
    for (const group of groups) group.classList.toggle("unchosen", group !== chosen);
    [...bar.children].forEach((tab, i) => tab.setAttribute("aria-pressed", String(groups[i] === chosen)));
  };
  for (const group of groups) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = group.dataset.title;
    tab.dataset.group = group.dataset.group;
    tab.addEventListener("click", () => show(group));
    bar.append(tab);
  }
  bar.hidden = false;
  show(groups[0]);
}

function score(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en");
}

function fillClasses(run) {
  const table = byId("classes");
  for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
  table.tBodies[0].replaceChildren(...run.rows.map(([name, rare, ...values]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    const label = document.createElement("span");
    label.className = rare ? "name rare" : "name";
    label.textContent = name;
    head.append(label);
    row.append(head);
    values.forEach((value, i) => {
      const cell = document.createElement("td");
      cell.className = "number";
      cell.dataset.value = value ?? "";
      cell.textContent = i < 6 ? count(value) : score(value);
      row.append(cell);
    });
    return row;
  }));
}

// The page: which run is shown, and what of it.

function show(section, name, there) {
  byId(section).querySelector(".missing").hidden = there;
  for (const part of byId(section).querySelectorAll(`[data-needs="${name}"]`)) part.hidden = !there;
}

function mistakeCard(mistake) {
  const card = document.createElement("figure");
  const truth = data.classes[mistake.true], guess = data.classes[mistake.predicted];
  if (mistake.image) {
    const picture = document.createElement("img");
    picture.alt = `${mistake.path}: ${truth}, predicted as ${guess}`;
    picture.addEventListener("load", () => picture.classList.toggle("pixels", picture.naturalWidth < 96));
    picture.src = mistake.image;
    card.append(picture);
  } else {
    const gap = document.createElement("div");
    gap.className = "gap";
    gap.textContent = "no picture";
    card.append(gap);
  }
  const caption = document.createElement("figcaption");
  const line = (className, ...parts) => {
    const box = document.createElement("div");
    box.className = className;
    box.append(...parts);
    caption.append(box);
  };
  const strong = document.createElement("strong");
  strong.textContent = guess;
  const sure = mistake.probability === null ? "" : `, ${(100 * mistake.probability).toFixed(0)} %`;
  line("called", "predicted ", strong, sure);
  line("truth", "true class ", truth);
  line("path", mistake.path);
  card.append(caption);
  return card;
}

function showRun(run) {
  state.run = run;
  const label = `${run.title}, repeat ${run.draw}`;
  for (const which of document.querySelectorAll(".which")) which.textContent = label;
  byId("chooser-note").textContent = `Scores of this one run on the ${run.split} images.`;
  draw("chart-confusion", run.figures.confusion, prepareConfusion(run));
  fillClasses(run);
  show("thresholds", "thresholds", run.thresholds !== null);
  showCurves();
  show("learning", "loss", Boolean(run.figures.loss));
  draw("chart-loss", run.figures.loss);
  draw("chart-scores", run.figures.scores);
  show("embedding", "embedding", Boolean(run.figures.embedding));
  byId("projection").textContent = run.projection ? ` (${run.projection})` : "";
  byId("synthetic-words").hidden = !run.hasSynthetic;
  draw("chart-embedding", run.figures.embedding);
  show("mistakes", "mistakes", run.mistakes.length > 0);
  byId("gallery").replaceChildren(...run.mistakes.map(mistakeCard));
}

function makeChooser() {
  const methods = byId("method"), draws = byId("draw");
  const titles = new Map(data.runs.map((run) => [run.method, run.title]));
  for (const [method, title] of titles) methods.add(new Option(title === method ? title : `${title} (${method})`, method));
  const fillDraws = () => {
    const before = draws.value;
    const own = data.runs.filter((run) => run.method === methods.value).map((run) => String(run.draw));
    draws.replaceChildren(...own.map((value) => new Option(value, value)));
    if (own.includes(before)) draws.value = before;
  };
  const choose = () => showRun(data.runs.find((run) => run.method === methods.value && String(run.draw) === draws.value));
  methods.addEventListener("change", () => { fillDraws(); choose(); });
  draws.addEventListener("change", choose);
  if (data.first !== null) methods.value = data.first;
  fillDraws();
  choose();
}

function makeDistribution() {
  const select = byId("distribution-draw"), all = data.distributions;
  if (!all.length) return;
  const choose = () => draw("chart-distribution", all[Number(select.value)].figure);
  all.forEach((item, i) => select.add(new Option(item.draw, i)));
  byId("distribution-controls").hidden = all.length < 2;
  select.addEventListener("change", choose);
  choose();
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
makeTabs();
makeDistribution();
if (data.overview) draw("chart-overview", data.overview, inkMarkers);
for (const [id, figure] of Object.entries(data.charts)) draw(id, figure);
if (data.runs.length) {
  makeThreshold();
  makeChooser();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
matchMedia("print").addEventListener("change", redrawAll);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redrawAll();
  width = innerWidth;
});
document.documentElement.dataset.ready = "yes";

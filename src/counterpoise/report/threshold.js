// The threshold slider: every count is looked up in a table made from the predictions, none is computed from pixels.

const state = { run: null };

function countsAt(run, cls, step) {
  const table = run.thresholds;
  const tp = table.tp[cls][step], fp = table.fp[cls][step];
  const fn = table.yes[cls] - tp, tn = table.n - table.yes[cls] - fp;
  const share = (part, whole) => (whole ? part / whole : null);
  return { tp, fp, fn, tn, recall: share(tp, tp + fn), precision: share(tp, tp + fp), specificity: share(tn, tn + fp) };
}

function markerAt(now) {
  return now.recall === null || now.specificity === null ? [[], []] : [[1 - now.specificity], [now.recall]];
}

function prepareRoc(traces, layout, box) {
  const cls = Number(byId("threshold-class").value), size = data.classes.length;
  const now = countsAt(state.run, cls, Number(byId("threshold").value));
  traces.forEach((trace, i) => {
    if (i < size) {
      trace.line = { ...trace.line, width: i === cls ? 3.5 : 1.4 };
      trace.opacity = i === cls ? 1 : size > 10 ? 0.3 : 0.55;
      if (i === cls && size > 10) trace.line.color = token("--accent");
    }
  });
  traces[size].line = { ...traces[size].line, color: token("--ink") };
  const marker = traces[size + 2];
  [marker.x, marker.y] = markerAt(now);
  marker.marker = { ...marker.marker, color: token("--ink") };
  if (box.clientWidth < 480) {
    layout.legend = { ...layout.legend, orientation: "h", x: 0, xanchor: "left", y: -0.2, yanchor: "top" };
    layout.height += 26 * (size > 20 ? 2 : size + 2) * 0.8;
  }
}

function showThreshold() {
  const run = state.run, slider = byId("threshold");
  const now = countsAt(run, Number(byId("threshold-class").value), Number(slider.value));
  const text = (slider.value / 100).toFixed(2);
  byId("threshold-value").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  for (const cell of document.querySelectorAll("#thresholds [data-cell]")) {
    const value = now[cell.dataset.cell];
    cell.dataset.value = value ?? "";
    cell.textContent = Number.isInteger(value) && cell.tagName === "TD" ? count(value) : score(value);
  }
  return now;
}

// The slider moves nothing but the marker; another class or run redraws the curves.
function moveMarker() {
  const [x, y] = markerAt(showThreshold());
  Plotly.restyle("chart-roc", { x: [x], y: [y] }, [data.classes.length + 2]);
}

function showCurves() {
  if (!state.run.thresholds) return;
  showTuned();
  showThreshold();
  draw("chart-roc", state.run.figures.roc, prepareRoc);
}

function tunedStep() {
  return state.run.tuned.steps[Number(byId("threshold-class").value)] ?? null;
}

// The threshold is never tuned on the test images that the table counts: without others, there is no button.
function showTuned() {
  const { images, held_out: own } = state.run.tuned, cls = Number(byId("threshold-class").value);
  byId("youden").hidden = tunedStep() === null;
  let words = "This run keeps no predictions of images other than test images, so no threshold is suggested: one tuned on the test images would look better than it is.";
  if (images) words = `No threshold is suggested: of the ${images}, ${own[cls] ? "all are" : "none is"} of this class.`;
  if (tunedStep() !== null) words = `of recall and specificity (Youden's J), tuned on ${images}, ${count(own[cls])} of them of this class. The counts are those of the test images.`;
  byId("tuned-words").textContent = words;
}

function balance() {
  byId("threshold").value = tunedStep();
  moveMarker();
}

function makeThreshold() {
  const select = byId("threshold-class");
  data.classes.forEach((name, i) => select.add(new Option(name, i)));
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; moveMarker(); });
  };
  byId("threshold").addEventListener("input", later);
  select.addEventListener("change", showCurves);
  byId("youden").addEventListener("click", balance);
}

// Drawing: the figures come as data; light or dark, font and size come from the page.

const data = JSON.parse(document.getElementById("report-data").textContent);
const drawn = new Map();
// Buttons are named one by one: newer versions of Plotly add one that uploads the chart.
const config = { displaylogo: false, responsive: true, typesetMath: false, toImageButtonOptions: { format: "svg" },
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  showSendToCloud: false, showEditInChartStudio: false, showLink: false, plotlyServerURL: "" };

const byId = (id) => document.getElementById(id);

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themed(layout) {
  const axis = { gridcolor: token("--line"), linecolor: token("--line"), zerolinecolor: token("--line"),
    tickfont: { color: token("--quiet") } };
  const legend = { bgcolor: token("--veil"), ...layout.legend };
  return { ...layout, legend, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: token("--font"), size: 13, color: token("--ink") },
    hoverlabel: { bgcolor: token("--raised"), bordercolor: token("--line"), font: { color: token("--ink"), family: token("--font") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: token("--line"), activecolor: token("--accent") },
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis } };
}

// `prepare` adjusts a copy of the figure to the theme and the space at hand.
function draw(id, figure, prepare) {
  const box = byId(id);
  if (!box) return;
  if (!figure) {
    drawn.delete(id);
    Plotly.purge(box);
    return;
  }
  drawn.set(id, [figure, prepare]);
  const traces = figure.data.map((trace) => ({ ...trace }));
  const layout = themed(figure.layout);
  if (prepare) prepare(traces, layout, box);
  Plotly.react(box, traces, layout, config);
}

function redrawAll() {
  for (const [id, [figure, prepare]] of [...drawn]) draw(id, figure, prepare);
}

// The mean over all classes has no color of its own: it takes that of the text.
function inkMarkers(traces) {
  for (const trace of traces) {
    if (trace.marker && !trace.marker.color) trace.marker = { ...trace.marker, color: token("--ink") };
    if (trace.error_x && !trace.error_x.color) trace.error_x = { ...trace.error_x, color: token("--ink") };
  }
}

// Fills the matrix from its non-zero cells, and chooses a text size that fits a cell.
function confusionOf(run) {
  const size = data.classes.length;
  const counts = Array.from({ length: size }, () => new Array(size).fill(0));
  for (const [row, column, count] of run.confusion) counts[row][column] = count;
  return counts;
}

// The counts as a layer of their own, for a heatmap cannot color its texts one by one.
function countLabels(counts, share, size) {
  const cells = counts.flatMap((row, i) => row.map((n, j) => [i, j, n]));
  return { type: "scatter", mode: "text", hoverinfo: "skip", showlegend: false, cliponaxis: false,
    x: cells.map(([, j]) => j), y: cells.map(([i]) => i), text: cells.map(([, , n]) => String(n)),
    textfont: { size, color: cells.map(([i, j]) => (share[i][j] > 0.6 ? token("--heat-ink") : token("--ink"))) } };
}

function prepareConfusion(run) {
  return (traces, layout, box) => {
    const names = run.figures.confusion.layout.xaxis.ticktext;
    const counts = confusionOf(run);
    const totals = counts.map((row) => row.reduce((sum, n) => sum + n, 0));
    const share = counts.map((row, i) => row.map((n) => (totals[i] ? n / totals[i] : 0)));
    const heat = traces[0];
    const narrow = box.clientWidth < 560;
    const cell = (Math.min(box.clientWidth, layout.height) - (narrow ? 90 : 150)) / names.length;
    const longest = Math.max(...counts.flat()).toString().length;
    const size = Math.min(15, Math.floor(cell / Math.max(2, longest) * 1.4));
    heat.z = share;
    heat.customdata = counts.map((row, i) => row.map((n, j) =>
      `${n} of ${totals[i]} images (${(100 * share[i][j]).toFixed(1)} %)<br>true: ${names[i]}<br>predicted: ${names[j]}`));
    heat.colorscale = [[0, token("--heat-0")], [0.5, token("--heat-1")], [1, token("--heat-2")]];
    if (size >= 7) traces.push(countLabels(counts, share, size));
    if (narrow) {
      layout.height = Math.min(layout.height, box.clientWidth + 90);
      layout.font.size = 11;
      layout.xaxis.title = { ...layout.xaxis.title, font: { size: 12 } };
    }
    if (names.length > 120) {
      layout.xaxis = { ...layout.xaxis, showticklabels: false, ticks: "" };
      layout.yaxis = { ...layout.yaxis, showticklabels: false, ticks: "" };
    } else if (names.length > 40) {
      layout.xaxis = { ...layout.xaxis, tickfont: { size: 8 } };
      layout.yaxis = { ...layout.yaxis, tickfont: { size: 8 } };
    }
  };
}

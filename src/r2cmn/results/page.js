/* Draws the learning curves and the parallel coordinates from the JSON of the page, in the colours of its scheme. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const palette = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F"];
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  function look() {
    const axis = { gridcolor: colour("--grid"), linecolor: colour("--soft"), zeroline: false, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: { ...axis }, yaxis: { ...axis },
      font: { family: "system-ui, sans-serif", size: 12.5, color: colour("--ink") },
      hoverlabel: { namelength: -1 },
    };
  }

  function curves(id, metric) {
    const groups = [...new Set(data.curves.map((each) => each.setting))];
    const seen = new Set();
    const traces = data.curves.filter((each) => each.values[metric]).map((each) => {
      const group = groups.indexOf(each.setting);
      const first = !seen.has(each.setting);
      seen.add(each.setting);
      return {
        x: each.values[metric].map((pair) => pair[0]), y: each.values[metric].map((pair) => pair[1]),
        mode: "lines+markers", name: each.setting, legendgroup: each.setting, showlegend: first,
        line: { color: palette[group % palette.length], width: 1.6, dash: dashes[Math.floor(group / palette.length) % 4] },
        marker: { size: 4 }, text: each.values[metric].map(() => each.trial),
        hovertemplate: `%{text}, seed ${each.seed}<br>${each.setting}<br>epoch %{x}: %{y:.4f}<extra></extra>`,
      };
    });
    const layout = look();
    layout.xaxis.title = { text: "epoch" };
    layout.yaxis.title = { text: metric };
    layout.margin = { l: 60, r: 12, t: 10, b: 45 };
    layout.legend = { orientation: "h", y: -0.22, yanchor: "top", x: 0 };
    layout.height = 340 + 22 * Math.ceil(groups.length / (window.innerWidth < 640 ? 1 : 4));
    Plotly.react(id, traces, layout, options);
  }

  function coordinates(id) {
    const values = data.coordinates.colour.values;
    const layout = look();
    layout.margin = { l: 70, r: 90, t: 60, b: 30 };
    layout.height = 420;
    Plotly.react(id, [{
      type: "parcoords",
      line: {
        color: values, colorscale: "Cividis", showscale: true,
        colorbar: { title: { text: data.coordinates.colour.label }, thickness: 12, outlinewidth: 0 },
      },
      dimensions: data.coordinates.dimensions,
      labelfont: { color: colour("--ink"), size: 12 }, tickfont: { color: colour("--ink"), size: 11 },
      rangefont: { color: colour("--soft"), size: 10 },
      unselected: { line: { color: colour("--grid"), opacity: 0.3 } },
    }], layout, options);
  }

  function draw() {
    document.querySelectorAll("[data-metric]").forEach((each) => curves(each.id, each.dataset.metric));
    if (document.getElementById("coordinates")) coordinates("coordinates");
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();

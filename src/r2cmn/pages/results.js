/* Draws the learning curves and the parallel coordinates from the JSON of the page, in the colors of its scheme. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const palette = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dashes = ["solid", "dash", "dot", "dashdot"];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads tags and %{...} in texts
  const plain = (name) => String(name).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/%/g, "&#37;");
  const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  function look() {
    const axis = { gridcolor: color("--grid"), linecolor: color("--soft"), zeroline: false, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: { ...axis }, yaxis: { ...axis },
      font: { family: "system-ui, sans-serif", size: 12.5, color: color("--ink") },
      hoverlabel: { namelength: -1 }, showlegend: false,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--ink") },
    };
  }

  const settings = [...new Set(data.curves.map((each) => each.setting))];
  const hidden = new Set();
  const shade = (setting) => palette[settings.indexOf(setting) % palette.length];
  const dash = (setting) => dashes[Math.floor(settings.indexOf(setting) / palette.length) % 4];

  function key() {
    const list = document.getElementById("key");
    if (!list) return;
    settings.forEach((setting) => {
      const button = document.createElement("button");
      const styles = { solid: "solid", dash: "dashed", dot: "dotted", dashdot: "double" };
      const line = document.createElement("i");
      line.style.borderTop = `3px ${styles[dash(setting)]} ${shade(setting)}`;
      button.append(line, setting);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        if (!hidden.delete(setting)) hidden.add(setting);
        button.setAttribute("aria-pressed", String(!hidden.has(setting)));
        draw();
      });
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    });
  }

  function curves(id, metric) {
    const shown = data.curves.filter((each) => each.values[metric] && !hidden.has(each.setting));
    const traces = shown.map((each) => ({
      x: each.values[metric].map((pair) => pair[0]), y: each.values[metric].map((pair) => pair[1]),
      mode: "lines+markers", marker: { size: 4 },
      line: { color: shade(each.setting), width: 1.6, dash: dash(each.setting) },
      hovertemplate: `${plain(each.trial)}, seed ${each.seed}<br>${plain(each.setting)}<br>epoch %{x}: %{y:.4f}<extra></extra>`,
    }));
    const layout = look();
    const last = Math.max(0, ...traces.flatMap((trace) => trace.x));
    layout.xaxis.title = { text: "epoch" };
    if (last <= 12) layout.xaxis.dtick = 1;
    layout.yaxis.title = { text: metric };
    layout.margin = { l: 60, r: 12, t: 28, b: 45 };
    layout.height = 340;
    Plotly.react(id, traces, layout, options);
  }

  function coordinates(id) {
    const values = data.coordinates.color.values;
    const layout = look();
    const first = data.coordinates.dimensions[0].ticktext || [];
    layout.margin = { l: 34 + 7 * Math.max(0, ...first.map((each) => each.length)), r: 90, t: 60, b: 30 };
    layout.height = 420;
    Plotly.react(id, [{
      type: "parcoords",
      line: {
        color: values, showscale: true,
        colorscale: dark.matches ? [[0, "#3f74b8"], [0.5, "#a9a9a9"], [1, "#ffd75e"]] : [[0, "#00224e"], [0.5, "#7c7b78"], [1, "#c98a00"]],
        colorbar: { title: { text: data.coordinates.color.label }, thickness: 12, outlinewidth: 0 },
      },
      dimensions: data.coordinates.dimensions,
      labelfont: { color: color("--ink"), size: 12 }, tickfont: { color: color("--ink"), size: 11 },
      rangefont: { color: color("--soft"), size: 10 },
      unselected: { line: { color: color("--grid"), opacity: 0.3 } },
    }], layout, options);
  }

  function draw() {
    document.querySelectorAll("[data-metric]").forEach((each) => curves(each.id, each.dataset.metric));
    if (document.getElementById("coordinates")) coordinates("coordinates");
  }
  key();
  draw();
  dark.addEventListener("change", draw);
})();

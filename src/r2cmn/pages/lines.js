/* Hides settings, names the line under the pointer, and selects trials along an axis of the parallel coordinates. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tip = document.getElementById("tip");

  all("#key button").forEach((button) => {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      all(`.curve[data-setting="${button.dataset.setting}"]`).forEach((line) => line.classList.toggle("hidden", !shown));
    });
  });

  function place(svg, event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  function nearest(svg, x, y) {
    let best = [18, null, -1];
    all("path.curve[data-line]:not(.dots):not(.hidden)", svg).forEach((line) => {
      line.getAttribute("d").slice(1).split("L").forEach((pair, index) => {
        const [a, b] = pair.split(" ").map(Number);
        const distance = Math.hypot(a - x, b - y);
        if (distance < best[0]) best = [distance, line, index];
      });
    });
    return best;
  }

  all("[data-metric] svg").forEach((svg) => {
    const metric = svg.closest("[data-metric]").dataset.metric;
    svg.addEventListener("pointermove", (event) => {
      const [, line, index] = nearest(svg, ...place(svg, event));
      all(".lit", svg).forEach((other) => other.classList.remove("lit"));
      tip.hidden = !line;
      if (!line) return;
      line.classList.add("lit");
      const curve = data.curves[line.dataset.line];
      const [epoch, value] = curve.values[metric][index];
      tip.textContent = `${curve.trial}, seed ${curve.seed}: ${curve.setting}; epoch ${epoch}: ${value.toFixed(4)}`;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  });

  const chosen = new Map();
  function choose(svg) {
    all("path[data-trial]", svg).forEach((line) => {
      const ys = line.getAttribute("d").slice(1).split("L").map((pair) => Number(pair.split(" ")[1]));
      const inside = [...chosen].every(([axis, [low, high]]) => ys[axis] >= low && ys[axis] <= high);
      line.classList.toggle("faded", !inside);
    });
  }

  all("rect.brush").forEach((box) => {
    const svg = box.closest("svg"), axis = Number(box.dataset.axis);
    let start = null, mark = null;
    box.addEventListener("pointerdown", (event) => {
      start = place(svg, event)[1];
      box.setPointerCapture(event.pointerId);
      mark?.remove();
      mark = box.cloneNode();
      mark.setAttribute("class", "chosen");
      svg.append(mark);
    });
    box.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const ends = [start, place(svg, event)[1]].sort((a, b) => a - b);
      mark.setAttribute("y", ends[0]);
      mark.setAttribute("height", ends[1] - ends[0]);
      chosen.set(axis, ends);
      choose(svg);
    });
    box.addEventListener("pointerup", (event) => {
      if (Math.abs(place(svg, event)[1] - start) < 3) {
        chosen.delete(axis);
        mark.remove();
      }
      start = null;
      choose(svg);
    });
  });
})();

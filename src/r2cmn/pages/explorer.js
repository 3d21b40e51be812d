// The state of the page, what draws it, and what changes it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("choice");
  const models = data.models.map((model, number) => {
    const section = document.querySelector(`[data-model="${number}"]`);
    const find = (selector) => section.querySelector(selector);
    return {
      ...readModel(model), section, about: find(".about"), there: find(".there"), place: find(".place"),
      largest: find(".largest"), buttons: [...section.querySelectorAll(".word")], svgs: [...section.querySelectorAll(".patches")],
    };
  });
  const choice = { route: "", layer: null, head: null, thread: null };
  const state = { words: [], pinned: false, view: 0, patches: [], vector: null, anchor: null, cursor: 0 };
  const SVG = "http://www.w3.org/2000/svg";

  function shape(svg, tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    svg.append(element);
    return element;
  }

  const cell = (view, patch) => {
    const width = view.width / view.columns, height = view.height / view.rows;
    return { x: (patch % view.columns) * width, y: Math.floor(patch / view.columns) * height, width, height };
  };

  function build(model) {
    model.rects = model.views.flatMap((view, number) => {
      const svg = model.svgs[number];
      const size = { width: view.width, height: view.height };
      if (view.picture) {
        const href = `data:image/png;base64,${view.picture}`;
        shape(svg, "image", { href, ...size, preserveAspectRatio: "none" });
      }
      return [...Array(view.number).keys()].map((patch) =>
        shape(svg, "rect", { class: "patch", "data-patch": view.first + patch, ...cell(view, patch) }));
    });
  }

  /** Draw outlines over a view: chosen patches, those of a vector, the cursor, the true boxes. */
  function drawMarks(model, view, number, uses) {
    const svg = model.svgs[number];
    svg.querySelectorAll(".mark, .finding").forEach((each) => each.remove());
    const outline = (kind, place) => {
      if (kind !== "cursor") shape(svg, "rect", { class: "mark under", ...place });
      shape(svg, "rect", { class: `mark ${kind}`, ...place });
    };
    const within = (patch) => patch >= view.first && patch < view.first + view.number;
    for (const patch of uses.filter(within)) outline("uses", cell(view, patch - view.first));
    if (state.view === number) {
      const chosen = state.patches.filter((patch) => patch < view.number).map((patch) => cell(view, patch));
      if (chosen.length) {  // a rectangle: its first and its last patch
        const [first, last] = [chosen[0], chosen.at(-1)];
        outline("picked", { ...first, width: last.x + last.width - first.x, height: last.y + last.height - first.y });
      }
      outline("cursor", cell(view, Math.min(state.cursor, view.number - 1)));
    }
    if (form.elements.boxes && !form.elements.boxes.checked) return;
    for (const { number: name, box: [left, top, right, bottom] } of view.boxes) {
      const x = left * view.width, y = top * view.height, size = view.width / 15;
      outline("box", { x, y, width: (right - left) * view.width, height: (bottom - top) * view.height });
      const text = shape(svg, "text", { class: "finding", x: x + size / 4, y: y + size, "stroke-width": size / 5 });
      text.style.fontSize = `${size}px`;
      text.textContent = name;
    }
  }

  function drawModel(model, number) {
    const word = state.words[number];
    const values = word === null ? null : rawValues(model, word, choice);
    const map = values && asMap(values);
    model.rects.forEach((rect, patch) => {
      const value = map ? map[patch] : 0;
      rect.style.fillOpacity = 0.78 * value;
      rect.dataset.value = value.toFixed(6);
      rect.dataset.raw = values ? values[patch].toFixed(6) : "";
    });
    const even = choice.route === "attention" && values ? `; an even share is ${brief(1 / values.length)}` : "";
    model.largest.textContent = values
      ? `${brief(Math.max(0, ...values))}, the word's largest of all views${even}` : "no map";
    const vector = state.vector && state.vector.model === number ? state.vector : null;
    model.views.forEach((view, each) => drawMarks(model, view, each, vector ? vector.patches : []));
    writeAbout(model, model.about, word, choice, values, (found) => {
      state.vector = found && { ...found, model: number };
      models.forEach((other, n) => drawVector(other, n));
    });
    const view = model.views[state.view];
    const patches = view ? state.patches.filter((patch) => patch < view.number).map((patch) => patch + view.first) : [];
    const looks = writeThere(model, model.there, patches, choice);
    model.buttons.forEach((button, at) => {
      button.classList.toggle("current", at === word);
      button.classList.toggle("looks", Boolean(looks));
      button.classList.remove("uses");
      button.style.setProperty("--look", looks ? looks[at] : 0);
      button.setAttribute("aria-pressed", String(at === word && state.pinned));
    });
  }

  function drawVector(model, number) {
    const vector = state.vector && state.vector.model === number ? state.vector : null;
    model.views.forEach((view, each) => drawMarks(model, view, each, vector ? vector.patches : []));
    model.buttons.forEach((button, at) => button.classList.toggle("uses", Boolean(vector && vector.words.includes(at))));
  }

  function draw() {
    const means = AXES[choice.route].filter((axis) => form.elements[axis]).map((axis) => (choice[axis] === null ? `mean over ${axis}s` : `${axis} ${choice[axis] + 1}`));
    document.getElementById("meaning").textContent =
      `${choice.route}: ${MEANING[choice.route]}${means.length ? `; ${means.join(", ")}` : ""}.`;
    form.querySelectorAll(".axis").forEach((label) => { label.hidden = !AXES[choice.route].includes(label.dataset.axis); });
    state.vector = null;
    models.forEach(drawModel);
  }

  /** Choose a word of a model; the other model shows the nearest equal word of its own report, or none. */
  function chooseWord(number, word) {
    state.words = models.map((model, other) => {
      if (other === number) return word;
      const text = models[number].words[word];
      const equal = model.words.map((each, at) => at).filter((at) => model.words[at] === text);
      return equal.length ? equal.reduce((best, at) => (Math.abs(at - word) < Math.abs(best - word) ? at : best)) : null;
    });
    draw();
  }

  function tellPlace(view, patch) {
    for (const model of models) {
      const found = model.views[view];
      const rect = found && patch < found.number ? model.rects[found.first + patch] : null;
      model.place.textContent = rect && rect.dataset.raw
        ? `${found.name}, row ${Math.floor(patch / found.columns) + 1}, column ${(patch % found.columns) + 1}: `
          + `${brief(Number(rect.dataset.raw))}, ${fixed(Number(rect.dataset.value), 2)} of the largest` : "";
    }
  }

  /** Choose the patches of a view between two corners. */
  function choosePatches(view, columns, from, to) {
    const rows = [from, to].map((patch) => Math.floor(patch / columns)).sort((a, b) => a - b);
    const sides = [from, to].map((patch) => patch % columns).sort((a, b) => a - b);
    const patches = [];
    for (let row = rows[0]; row <= rows[1]; row++) {
      for (let side = sides[0]; side <= sides[1]; side++) patches.push(row * columns + side);
    }
    Object.assign(state, { view, patches, cursor: to });
    draw();
    tellPlace(view, to);
  }

  function clear() {
    Object.assign(state, { pinned: false, patches: [], anchor: null });
    draw();
  }

  function listenToWords(model, number) {
    model.buttons.forEach((button, word) => {
      button.addEventListener("pointerenter", (event) => {
        if (!state.pinned && event.pointerType === "mouse") chooseWord(number, word);
      });
      button.addEventListener("focus", () => { if (!state.pinned && button.matches(":focus-visible")) chooseWord(number, word); });
      button.addEventListener("click", () => {
        state.pinned = !(state.pinned && state.words[number] === word);
        chooseWord(number, word);
      });
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step && model.buttons[word + step]) {
          state.pinned = false;
          model.buttons[word + step].focus();
        }
      });
    });
  }

  function listenToView(model, svg, number) {
    const view = model.views[number];
    const patchAt = (event) => {
      const box = svg.getBoundingClientRect();
      const at = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
      return at((event.clientY - box.top) / box.height, view.rows) * view.columns
        + at((event.clientX - box.left) / box.width, view.columns);
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const patch = patchAt(event);
      const isSame = state.view === number && state.patches.length === 1 && state.patches[0] === patch;
      if (event.shiftKey && state.anchor !== null && state.view === number) {
        choosePatches(number, view.columns, state.anchor, patch);
      } else if (isSame) {
        clear();
      } else {
        state.anchor = patch;
        state.drags = event.pointerType === "mouse";
        choosePatches(number, view.columns, patch, patch);
      }
    });
    svg.addEventListener("pointermove", (event) => {
      const patch = patchAt(event);
      if (state.drags && event.buttons & 1 && state.view === number && patch !== state.cursor) {
        choosePatches(number, view.columns, state.anchor, patch);
      } else {
        tellPlace(number, patch);
      }
    });
    svg.addEventListener("pointerup", () => { state.drags = false; });
    svg.addEventListener("focus", () => {
      if (state.view !== number) Object.assign(state, { view: number, patches: [], cursor: 0, anchor: null });
      draw();
    });
    svg.addEventListener("keydown", (event) => moveInView(event, view, number));
  }

  function moveInView(event, view, number) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (step) {
      const row = Math.floor(state.cursor / view.columns) + step[0], column = (state.cursor % view.columns) + step[1];
      event.preventDefault();
      if (row < 0 || row >= view.rows || column < 0 || column >= view.columns) return;
      const before = state.cursor;
      state.cursor = row * view.columns + column;
      if (event.shiftKey) {
        state.anchor ??= before;
        choosePatches(number, view.columns, state.anchor, state.cursor);
      } else {
        draw();
        tellPlace(number, state.cursor);
      }
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      state.anchor = state.cursor;
      choosePatches(number, view.columns, state.cursor, state.cursor);
    }
  }

  function readForm() {
    choice.route = form.elements.route.value;
    for (const axis of ["layer", "head", "thread"]) {
      const select = form.elements[axis];
      choice[axis] = select && select.value !== "" ? Number(select.value) : null;
    }
    draw();
  }

  models.forEach((model, number) => {
    build(model);
    listenToWords(model, number);
    model.svgs.forEach((svg, view) => listenToView(model, svg, view));
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
  form.addEventListener("change", readForm);
  form.addEventListener("submit", (event) => event.preventDefault());
  choice.route = form.elements.route?.value ?? "attention";
  if (models[0].words.length) chooseWord(0, Math.min(data.start, models[0].words.length - 1));
})();

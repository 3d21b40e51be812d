// What is written about the chosen word and the chosen patches. Every text is set as text, never as markup.
const MEANING = {
  attention: "weight of the decoder's attention on each patch",
  memory: "how alike the word's and the patch's use of the memory vectors is, 0 to 1",
  occlusion: "fall of the word's log-probability if the patch alone is replaced",
};
const fixed = (value, digits = 3) => value.toFixed(digits).replace("-", "\u2212");
const brief = (value) => String(Number(value.toPrecision(3))).replace("-", "\u2212");

/** Return an element with children, texts among them. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return a table; a heading that begins with < is of a column of prose. */
function makeTable(head, rows) {
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((cell) =>
      make("th", { scope: "col", class: cell.startsWith("<") ? "prose" : "" }, cell.replace("<", ""))))),
    make("tbody", {}, ...rows)));
}

function meter(share, kind = "") {
  const bar = make("span", { class: `meter ${kind}` });
  bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return make("td", { class: "share" }, bar);
}

const named = (model, word) => (model.has_words ? `${model.words[word]} (${word + 1})` : `word ${word + 1}`);

function namePatch(model, patch) {
  const view = model.views.find((each) => patch < each.first + each.number);
  const within = patch - view.first;
  return `${view.name} ${Math.floor(within / view.columns) + 1}\u00b7${(within % view.columns) + 1}`;
}

function listSome(names, most) {
  return names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");
}

function aboutDeletion(model, word, choice) {
  const tested = model.deletion?.[choice.route]?.[word];
  if (!model.deletion || !(choice.route in model.deletion)) return null;
  if (!tested) return make("p", { class: "soft" }, "Deletion test: not run for this word.");
  const numbers = `(area ${fixed(tested.area)}, random order ${fixed(tested.random_area)} \u00b1 ${fixed(tested.random_sd)})`;
  const mean = AXES[choice.route].some((axis) => choice[axis] !== null) ? " The test is of the mean map." : "";
  return tested.beats_random
    ? make("p", { class: "soft deletion" }, `Deletion test: this map beats random order ${numbers}.${mean}`)
    : make("p", { class: "error deletion" },
      `Deletion test: this map does not beat random order ${numbers}. Do not take it for the reason of this word.${mean}`);
}

function aboutChoices(model, word) {
  const row = model.choices[word];
  if (!row || !row.length) return [];
  return [make("h4", {}, "The likeliest words here"), makeTable(["word", "probability", ""], row.map(([other, p]) =>
    make("tr", { class: other === model.words[word] ? "same" : "" },
      make("th", { scope: "row" }, other), make("td", {}, fixed(p)), meter(p))))];
}

function aboutBoxes(model, map) {
  const rows = model.views.flatMap((view) => view.boxes.map((box) => {
    const score = scoreBox(view, map, box);
    return make("tr", {}, make("th", { scope: "row" }, `${box.number} ${box.finding}, ${view.name}`),
      make("td", {}, score.hit ? "inside" : "outside"), make("td", {}, `${fixed(100 * score.share, 0)}%`),
      make("td", {}, `${fixed(100 * score.area, 0)}%`));
  }));
  return rows.length ? [make("h4", {}, "True boxes and this map"),
    makeTable(["finding, view", "highest patch", "of the map", "of the patches"], rows)] : [];
}

function aboutVectors(model, word, choice, onVector) {
  if (!model.vectors) return [];
  const isShared = model.vectors.shared;
  const rows = topVectors(model, word, choice.route === "memory" ? choice.thread : null, 6).map((each) => {
    const others = each.words.filter((other) => other !== word);
    const shown = isShared ? each : { ...each, patches: [] };
    const button = make("button", { type: "button", class: "vector" }, `${each.vector}`);
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => onVector(shown));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => onVector(null));
    return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, `${each.thread + 1}`),
      make("td", {}, fixed(each.weight)),
      make("td", { class: "prose" }, others.length ? listSome(others.map((other) => named(model, other)), 5) : "none"),
      make("td", { class: "prose" }, isShared
        ? listSome(each.patches.map((patch) => namePatch(model, patch)), 3) || "none"
        : "a memory of their own"));
  });
  return [make("h4", {}, "Memory vectors that this word queries most, and who else queries them"),
    makeTable(["vector", "thread", "weight", "<other words", "<patches (row\u00b7column)"], rows)];
}

/** Write about a word: its probability, the test of its map, alternatives, boxes, vectors. */
function writeAbout(model, panel, word, choice, values, onVector) {
  if (word === null) {
    panel.replaceChildren(make("p", { class: "soft" }, "This report does not have the word."));
    return;
  }
  const note = model.notes[choice.route];
  panel.replaceChildren(
    make("h3", {}, `${model.has_words ? `\u201c${model.words[word]}\u201d, ` : ""}word ${word + 1}, `
      + `probability ${fixed(model.probabilities[word])}`),
    ...[values ? null : make("p", { class: "note" }, `This model has no such map: ${choice.route}.`),
      note ? make("p", { class: "soft" }, note) : null,
      values ? aboutDeletion(model, word, choice) : null].filter((each) => each !== null),
    ...aboutChoices(model, word), ...(values ? aboutBoxes(model, asMap(values)) : []),
    ...aboutVectors(model, word, choice, onVector));
}

/** Write about the chosen patches: the words that look there, and their falls. Return the value of each word. */
function writeThere(model, panel, patches, chosen) {
  const occluded = model.maps.occlusion ? { route: "occlusion" } : null;
  const choice = rawValues(model, 0, chosen) ? chosen : occluded;  // without the chosen map, the falls alone
  panel.hidden = !patches.length || !choice;
  if (panel.hidden) return null;
  const largest = (word, route) => {
    const values = rawValues(model, word, route);
    return Math.max(...patches.map((patch) => values[patch]));
  };
  const found = model.words.map((_, number) => ({
    number, look: largest(number, choice), fall: occluded ? largest(number, occluded) : 0,
  }));
  const order = found.slice().sort((one, other) => other.look - one.look).slice(0, 12);
  const most = Math.max(...found.map((each) => each.look), 0);
  const isOne = patches.length === 1;
  const several = isOne ? "" : "Of several patches: the largest value of any one. Each was replaced alone; what happens "
    + "if all are replaced together was not computed, and it is not the sum.";
  const withFall = occluded && choice.route !== "occlusion";
  panel.replaceChildren(
    make("h3", {}, isOne ? `Words that look at ${namePatch(model, patches[0])}` : `Words that look at ${patches.length} patches`),
    makeTable(["word", choice.route === "occlusion" ? "fall" : choice.route, "", ...(withFall ? ["fall if replaced"] : [])],
      order.map((each) => make("tr", {}, make("th", { scope: "row" }, named(model, each.number)),
        make("td", {}, brief(each.look)), meter(most > 0 ? each.look / most : 0, "heat"),
        withFall ? make("td", {}, brief(each.fall)) : null))),
    make("p", { class: "soft" }, occluded
      ? `Fall: of the word's log-probability if the patch alone is replaced; below 0 the word becomes likelier. ${several}`
      : several));
  return found.map((each) => (most > 0 && each.look > 0 ? each.look / most : 0));
}

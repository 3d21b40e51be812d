"use strict";
// The numbers of the page: explanations unpacked, maps and scores computed as r2cmn.explain does.
const AXES = { attention: ["layer", "head"], memory: ["thread"], occlusion: [] };

/** Return an array that r2cmn.explain.pack has packed: its shape and its values. */
function unpack({ shape, digits, signed, data }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const values = new Float64Array(shape.reduce((product, size) => product * size, 1));
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    let whole = 0, factor = 1, byte;
    do {
      byte = bytes[at++];
      whole += (byte & 127) * factor;
      factor *= 128;
    } while (byte > 127);
    if (signed) whole = whole % 2 ? -(whole + 1) / 2 : whole / 2;
    values[i] = whole / 10 ** digits;
  }
  return { shape, values };
}

function readModel(model) {
  const maps = {};
  for (const [route, packed] of Object.entries(model.maps)) maps[route] = unpack(packed);
  const vectors = model.vectors && Object.fromEntries(
    Object.entries(model.vectors).map(([name, value]) => [name, value && value.data !== undefined ? unpack(value) : value]));
  let first = 0, box = 0;
  const views = model.views.map((view) => {
    const boxes = view.boxes.map((each) => ({ ...each, number: ++box }));
    const patches = { ...view, boxes, first, number: view.rows * view.columns };
    first += patches.number;
    return patches;
  });
  return { ...model, maps, vectors, views };
}

/** Return the raw values of a word over all patches, the mean over each axis that is not chosen; null without them. */
function rawValues(model, word, choice) {
  const map = model.maps[choice.route];
  if (!map) return null;
  const sizes = map.shape.slice(1, -1), number = map.shape.at(-1);
  const names = AXES[choice.route];
  if (names.some((name, axis) => choice[name] !== null && choice[name] >= sizes[axis])) return null;
  let rows = [word];
  sizes.forEach((size, axis) => {
    const chosen = choice[names[axis]];
    const taken = chosen === null ? [...Array(size).keys()] : [chosen];
    rows = rows.flatMap((row) => taken.map((each) => row * size + each));
  });
  const sum = new Float64Array(number);
  for (const row of rows) for (let i = 0; i < number; i++) sum[i] += map.values[row * number + i];
  return sum.map((value) => value / rows.length);
}

/** Return values in [0, 1]: divided by the largest over all views, 0 if negative. */
function asMap(values) {
  const largest = Math.max(0, ...values);
  return values.map((value) => (largest > 0 ? Math.max(0, value) / largest : 0));
}

/** Return the patches of a view in a box: those whose center is in it, and the one that has the box's center. */
function patchesInBox(view, [left, top, right, bottom]) {
  const inside = [];
  for (let row = 0; row < view.rows; row++) {
    for (let column = 0; column < view.columns; column++) {
      const x = (column + 0.5) / view.columns, y = (row + 0.5) / view.rows;
      const isIn = left <= x && x < right && top <= y && y < bottom;
      const holds = Math.floor(((left + right) / 2) * view.columns) === column
        && Math.floor(((top + bottom) / 2) * view.rows) === row;
      if (isIn || holds) inside.push(row * view.columns + column);
    }
  }
  return inside;
}

/** Return how a map meets a box: whether its highest patch of the view is inside, and which share of it is. */
function scoreBox(view, map, box) {
  const values = Array.from(map.subarray(view.first, view.first + view.number));
  const inside = patchesInBox(view, box.box);
  const total = values.reduce((sum, value) => sum + value, 0);
  const share = total > 0 ? inside.reduce((sum, patch) => sum + values[patch], 0) / total : 0;
  return { hit: total > 0 && inside.includes(values.indexOf(Math.max(...values))), share, area: inside.length / view.number };
}

/** Return the rows (words, or patches of a thread) that query a vector, those that give it most weight first. */
function usersOf(vector, vectors, weights, rows) {
  const k = vectors.shape.at(-1);
  const found = [];
  for (const [name, row] of rows) {
    const at = vectors.values.subarray(row * k, (row + 1) * k).indexOf(vector);
    if (at >= 0) found.push([name, weights.values[row * k + at]]);
  }
  return found.sort((one, other) => other[1] - one[1]).map(([name]) => name);
}

/** Return the vectors that a word queries most: thread, vector, weight, and the words and patches that use them. */
function topVectors(model, word, thread, most) {
  const { words, words_weight: wordsWeight, patches, patches_weight: patchesWeight } = model.vectors;
  const [numWords, threads, k] = words.shape, numPatches = patches.shape[1];
  const found = [];
  for (let t = 0; t < threads; t++) {
    if (thread !== null && thread !== t) continue;
    for (let i = 0; i < k; i++) {
      const at = (word * threads + t) * k + i;
      found.push({ thread: t, vector: words.values[at], weight: wordsWeight.values[at] });
    }
  }
  found.sort((one, other) => other.weight - one.weight);
  return found.slice(0, most).map((each) => ({
    ...each,
    words: usersOf(each.vector, words, wordsWeight, [...Array(numWords).keys()].map((w) => [w, w * threads + each.thread])),
    patches: usersOf(each.vector, patches, patchesWeight, [...Array(numPatches).keys()].map((p) => [p, each.thread * numPatches + p])),
  }));
}

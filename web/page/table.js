// Tables that are sorted, filtered, cut, and brought up to date row by row, so that focus and selection stay.

import { button, fill, h, say } from "./dom.js";
import { count } from "./format.js";

/** Rows that are shown before somebody asks for more. */
const ROWS = 200;

/** How each table was left, by its name: order, filter. There are as many as tables. */
const left = new Map();

/**
 * A table. `columns` are `{title, text(row), sort?(row), cell?(row, text), number?, minor?}`: `text` is what is filtered by
 * and compared, `cell` makes what is shown of it, `minor` is 1 or 2 if the column goes on a narrow, or a very narrow
 * screen. `key` names a row. Returns `{element, update(rows)}`.
 */
export function table({ name, caption, columns, key, empty, order = null, filter = true, extra = null, compact = false, rows: limit = ROWS }) {
  const state = left.get(name) ?? { order, filter: "", };
  left.set(name, state);
  let all = [];
  let shown = limit;
  const known = new Map();
  const body = h("tbody");
  const heads = columns.map((column, at) => head(column, at));
  const count_ = h("span", { class: "hint" });
  const more = h("div", { class: "more" });
  const field = h("input", {
    type: "search", placeholder: "filter", "aria-label": `filter ${caption}`, value: state.filter, spellcheck: "false",
    oninput: () => {
      state.filter = field.value;
      shown = limit;
      draw();
    },
  });
  const element = h("div", { class: compact ? "table-box compact" : "table-box" },
    h("div", { class: "tools" }, filter ? [field, extra, count_] : extra),
    h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      h("table", null, h("caption", { class: "unseen" }, caption), h("thead", null, h("tr", null, heads)), body)),
    more);

  function head(column, at) {
    const cell = h("th", { scope: "col", class: kind(column) });
    if (column.sort === null) return fill(cell, column.title || h("span", { class: "unseen" }, "actions"));
    cell.append(h("button", {
      type: "button", class: "sorter",
      onclick: () => {
        const [by, down] = state.order ?? [];
        state.order = [at, by === at ? !down : Boolean(column.number)];
        draw();
      },
    }, column.title));
    return cell;
  }

  function ordered() {
    const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    let rows = all;
    if (words.length) {
      rows = rows.filter((row) => {
        const text = columns.map((column) => column.text(row)).join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      });
    }
    if (!state.order) return rows;
    const [at, down] = state.order;
    const value = columns[at].sort ?? columns[at].text;
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort(([one], [other]) => compare(one, other) * (down ? -1 : 1));
    return keyed.map(([, row]) => row);
  }

  function draw() {
    const rows = ordered();
    const visible = rows.slice(0, shown);
    heads.forEach((cell, at) => {
      const [by, down] = state.order ?? [];
      if (by === at) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const kept = new Set();
    let before = null;
    for (const row of visible) {
      const id = key(row);
      if (kept.has(id)) continue;
      kept.add(id);
      let line = known.get(id);
      if (!line) known.set(id, (line = newLine()));
      bring(line, row);
      const place = before ? before.nextSibling : body.firstChild;
      if (line.element !== place) body.insertBefore(line.element, place);
      before = line.element;
    }
    for (const [id, line] of known) {
      if (kept.has(id)) continue;
      line.element.remove();
      known.delete(id);
    }
    sayHowMany(rows.length, visible.length);
  }

  function sayHowMany(found, visible) {
    const of = found < all.length ? `${count(found)} of ${count(all.length)}` : count(all.length);
    say(count_, all.length ? of : "");
    if (visible < found) {
      const step = Math.min(500, found - visible);
      if (more.dataset.for !== `${found} ${visible}`) {
        fill(more, button(`Show ${count(step)} more of ${count(found - visible)}`, () => {
          shown += step;
          draw();
        }));
        more.dataset.for = `${found} ${visible}`;
      }
    } else {
      delete more.dataset.for;
      fill(more, found === 0 ? h("p", { class: "empty" }, all.length ? "nothing matches the filter" : empty) : null);
    }
  }

  function newLine() {
    const cells = columns.map((column, at) =>
      h(at === 0 ? "th" : "td", { class: kind(column), scope: at === 0 ? "row" : null }));
    return { element: h("tr", null, cells), cells, texts: [] };
  }

  function bring(line, row) {
    columns.forEach((column, at) => {
      const text = String(column.text(row));
      if (line.texts[at] === text) return;
      line.texts[at] = text;
      fill(line.cells[at], column.cell ? column.cell(row, text) : text);
    });
  }

  return {
    element,
    update(rows) {
      all = rows;
      draw();
    },
  };
}

function kind(column) {
  const words = [column.number ? "number" : "", column.minor ? `minor-${column.minor}` : "", column.wide ? "wide" : "", column.size ?? ""];
  return words.filter(Boolean).join(" ") || null;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

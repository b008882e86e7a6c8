// Tables and the links between their pages.

import { h } from "./dom.js";

/**
 * A table that becomes a list of cards where there is little room; its roles are said for browsers that would forget
 * them then. `columns` have `name`, `cell(row)` and maybe `right`; the first one names its row.
 */
export function table({ caption, columns, rows, key, tone = () => "", nothing = "There is nothing here yet." }) {
  if (rows.length === 0) return h("p", { class: "nothing" }, nothing);
  const cellOf = (column, row, index) => {
    const content = column.cell(row);
    const right = column.right ? "right" : "";
    if (index === 0) return h("th", { scope: "row", role: "rowheader", class: right }, content);
    const empty = content === "" || content === null;
    return h(
      "td",
      { role: "cell", "data-label": column.name, class: `${right}${empty ? " empty" : ""}` },
      h("div", {}, content),
    );
  };
  return h(
    "div",
    { class: "wide" },
    h(
      "table",
      { class: "rows", role: "table" },
      h("caption", { class: caption.unseen ? "unseen" : "" }, caption.text ?? caption),
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          columns.map(({ name, right }) =>
            h("th", { scope: "col", role: "columnheader", class: right ? "right" : "" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map((row) =>
          h(
            "tr",
            { role: "row", "data-key": String(key(row)), class: tone(row) },
            columns.map((column, index) => cellOf(column, row, index)),
          ),
        ),
      ),
    ),
  );
}

/** The links between the pages of a list: each of `ends` is a name and where it leads, or null at the end. */
export function pager(label, text, ends, jump = null) {
  return h(
    "nav",
    { class: "pager", "aria-label": label },
    ends.map(([name, to]) =>
      h("a", { class: "button", href: to ?? window.location.hash, "aria-disabled": to === null ? "true" : null }, name),
    ),
    h("span", { class: "number" }, text),
    jump && jumper(jump),
  );
}

function jumper({ label, largest, go }) {
  return h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        const wanted = Number(event.currentTarget.querySelector("input").value);
        if (Number.isInteger(wanted) && wanted >= 1 && wanted <= largest) go(wanted);
      },
    },
    h(
      "label",
      {},
      label,
      " ",
      h("input", { type: "number", min: 1, max: largest, required: true, inputmode: "numeric" }),
    ),
    h("button", { type: "submit" }, "Go"),
  );
}

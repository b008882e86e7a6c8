// Makes elements, and makes a shown tree like a new one. Strings go in as text, whatever they contain.

const SVG = "http://www.w3.org/2000/svg";
const SVG_NAMES = new Set(["svg", "g", "rect", "path", "circle", "line", "title"]);

/**
 * Makes an element. Of its properties, those that begin with "on" are handlers, "class" and all others attributes;
 * null, undefined and false leave one out. Children are nodes, strings, numbers and lists of these.
 */
export function h(name, properties = {}, ...children) {
  const element = SVG_NAMES.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element[key] = value;
    else if (key === "value" && name === "input") element.value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

const HANDLERS = ["onclick", "onchange", "onsubmit", "oninput", "ontoggle", "onkeydown"];

/**
 * Makes the children of an element like those of another, and reuses what is there: focus, selection, scroll offsets
 * and opened details stay. Elements with a data-key are recognised by it; what has data-own is its maker's, and stays.
 */
export function show(parent, ...fresh) {
  const wanted = h(parent.localName === "svg" ? "g" : "div", {}, ...fresh);
  morphChildren(parent, wanted);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? (node.getAttribute("data-key") ?? node.getAttribute("data-own")) : null;
}

function alike(old, fresh) {
  if (old.nodeType !== fresh.nodeType) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    const found = key === null ? at : keyed.get(key);
    if (found && alike(found, wanted)) {
      if (found === at) at = at.nextSibling;
      else old.insertBefore(found, at);
      morph(found, wanted);
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morph(old, fresh) {
  if (old === fresh) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.hasAttribute("data-own")) return;
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the reader's.
    if (!fresh.hasAttribute(name) && !(name === "open" && old.localName === "details")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) old[name] = fresh[name];
  morphChildren(old, fresh);
}

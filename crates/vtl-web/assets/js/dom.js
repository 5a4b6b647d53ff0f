// Elements and how a picture of them is brought up to date.
//
// h() makes an element from data; no text is ever read as markup. morph() changes what is shown into what is
// wanted and leaves alone what is equal, so that focus, selection and scroll positions stay while numbers
// change under them.

const SVG = 'http://www.w3.org/2000/svg';
const OWN = new Set(['class', 'test', 'key', 'style', 'value', 'checked', 'keep']);

/** An element. Properties are attributes, but: functions are handlers, `style` is an object, `test` and `key` are data-*,
 *  `keep` leaves what is inside to its owner. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props ?? {}, children);
}

/** The same in SVG. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props ?? {}, children);
}

function fill(element, props, children) {
  if (props.class) element.setAttribute('class', props.class);
  if (props.test) element.dataset.test = props.test;
  if (props.key !== undefined) element.dataset.key = String(props.key);
  element.handlers = {};
  element.keep = props.keep ?? false;
  setStyle(element, props.style ?? {});
  for (const [name, value] of Object.entries(props)) {
    if (OWN.has(name) || value === undefined || value === null || value === false) continue;
    // What a handler returns must not matter: false would keep the browser from doing its part.
    if (typeof value === 'function') element.handlers[name] = (event) => void value(event);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  Object.assign(element, element.handlers);
  element.append(...nodes(children));
  // After the children: a select has its value only when it has its options.
  element.wanted = { value: props.value, checked: props.checked };
  setInput(element);
  return element;
}

function setStyle(element, style) {
  for (const name of Object.keys(element.styles ?? {}))
    if (!(name in style)) element.style.removeProperty(name);
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, String(value));
  element.styles = style;
}

function setInput(element) {
  const { value, checked } = element.wanted;
  if (value !== undefined && element.value !== String(value)) element.value = String(value);
  if (checked !== undefined) element.checked = checked;
}

/** What may stand between tags: nodes, texts, numbers, lists of them; nothing for null and false. */
function nodes(children) {
  return children
    .flat(Infinity)
    .filter((one) => one !== null && one !== undefined && one !== false && one !== '')
    .map((one) => (one instanceof Node ? one : document.createTextNode(String(one))));
}

/** Shows these in `container`, in the place of what it shows. */
export function render(container, ...children) {
  morphChildren(container, nodes(children));
}

function morph(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (name !== 'style' && old.getAttribute(name) !== value && !kept(old, name))
      old.setAttribute(name, value);
  }
  setStyle(old, wanted.styles ?? {});
  for (const name of Object.keys(old.handlers ?? {})) if (!wanted.handlers?.[name]) old[name] = null;
  old.handlers = wanted.handlers ?? {};
  Object.assign(old, old.handlers);
  if (!wanted.keep) morphChildren(old, [...wanted.childNodes]);
  // What somebody has typed since is theirs.
  const told = old.wanted?.value !== wanted.wanted?.value || old.wanted?.checked !== wanted.wanted?.checked;
  old.wanted = wanted.wanted ?? {};
  if (told && document.activeElement !== old) setInput(old);
}

/** What the browser or the reader has changed, not we. */
function kept(element, name) {
  return (
    name === 'style' ||
    name === 'aria-busy' ||
    (name === 'open' && (element.tagName === 'DETAILS' || element.tagName === 'DIALOG'))
  );
}

function same(old, wanted) {
  return (
    old.nodeType === wanted.nodeType &&
    old.nodeName === wanted.nodeName &&
    old.dataset?.key === wanted.dataset?.key
  );
}

function morphChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes)
    if (child.dataset?.key !== undefined) keyed.set(child.dataset.key, child);
  let at = parent.firstChild;
  for (const one of wanted) {
    const key = one.dataset?.key;
    const match = key === undefined ? at : keyed.get(key);
    if (match && same(match, one)) {
      if (match === at) at = at.nextSibling;
      else parent.insertBefore(match, at);
      morph(match, one);
    } else {
      parent.insertBefore(one, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

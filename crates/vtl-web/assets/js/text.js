// All words of the pages come from one file; a translation is another one.

const texts = await (await fetch(new URL('../texts.en.json', import.meta.url))).json();

/** The text of a dotted key, with `{name}` filled in. A key that is missing is shown as it is, and
 *  reported. */
export function t(key, values = {}) {
  const text = lookUp(key);
  if (text === undefined) {
    console.error(`no text for ${key}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The text of a word that the server may have more of than we know: `fallback`, or the word itself. */
export function word(group, name, fallback = name) {
  return lookUp(`${group}.${name}`) ?? fallback;
}

/** `one` or `many`, by the number. */
export function count(key, number) {
  return t(`${key}.${number === 1 ? 'one' : 'many'}`, { n: number.toLocaleString('en') });
}

function lookUp(key) {
  const found = key.split('.').reduce((at, part) => at?.[part], texts);
  return typeof found === 'string' ? found : undefined;
}

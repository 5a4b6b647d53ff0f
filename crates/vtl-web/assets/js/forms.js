// Dialogs and the fields in them.
//
// A form is data: a list of fields. What was typed comes back as an object by the fields' names; what is
// empty is left out.

import { Refusal } from './api.js';
import { h, render } from './dom.js';
import { t } from './text.js';
import { button, failure, noteFailure, signButton } from './ui.js';
import { parseSize } from './format.js';

let numbers = 0;

/** How a field of a type is read; what is left out is text. */
const READ = {
  checkbox: (input) => input.checked,
  number: (input) => (input.value === '' ? undefined : Number(input.value)),
  size: (input) => (input.value === '' ? undefined : parseSize(input.value)),
  list: (input) => {
    const lines = input.value
      .split('\n')
      .map((one) => one.trim())
      .filter(Boolean);
    return lines.length ? lines : undefined;
  },
};

const TAGS = { select: 'select', list: 'textarea' };
const INPUT_TYPES = { checkbox: 'checkbox', number: 'number', password: 'password' };

/** A field: `{name, label, type?, value?, options?, required?, hint?, when?(values)}`. */
function fieldOf(field, form) {
  const id = `${form.id}-${field.name}`;
  const hint = field.hint && h('small', { id: `${id}-hint`, class: 'hint' }, field.hint);
  const shared = {
    id,
    name: field.name,
    test: `field-${field.name}`,
    required: field.required,
    'aria-describedby': hint ? `${id}-hint` : null,
    autocomplete: field.autocomplete ?? 'off',
    placeholder: field.placeholder,
    spellcheck: 'false',
    ...field.props,
  };
  const tag = TAGS[field.type] ?? 'input';
  const options = (field.options ?? []).map(([value, label]) => h('option', { value }, label));
  const input = h(
    tag,
    {
      ...shared,
      type: tag === 'input' ? (INPUT_TYPES[field.type] ?? 'text') : null,
      rows: tag === 'textarea' ? '3' : null,
      ...(field.type === 'checkbox'
        ? { checked: field.value ?? false }
        : { value: field.value ?? (tag === 'select' ? field.options?.[0]?.[0] : '') ?? '' }),
    },
    options,
  );
  const label = h('label', { for: id }, field.label);
  const box =
    field.type === 'checkbox'
      ? h('div', { class: 'field check' }, input, label, hint)
      : h('div', { class: 'field' }, label, input, hint);
  box.field = field;
  return box;
}

function inputOf(box) {
  return box.querySelector('input, select, textarea');
}

/** What was typed, by name; null: it is no value of its field. */
function valuesOf(element) {
  const out = {};
  for (const box of element.querySelectorAll('.field')) {
    if (!box.field || box.hidden) continue;
    const input = inputOf(box);
    const value = (READ[box.field.type] ?? ((one) => one.value.trim() || undefined))(input);
    if (value !== undefined) out[box.field.name] = value;
  }
  return out;
}

/** What was typed, by name, for a request. What is no value of its field is refused as the server would. */
export function typed(element) {
  const values = valuesOf(element);
  for (const { field } of element.querySelectorAll('.field')) {
    if (field && values[field.name] === null)
      throw new Refusal(400, {
        message: t('form.bad_size', { name: field.label }),
        remedy: t('form.size_hint'),
        field: field.name,
      });
  }
  return values;
}

/** Fields that show themselves only when others have some value. */
function settle(form) {
  const values = valuesOf(form);
  for (const box of form.querySelectorAll('.field')) {
    const hidden = box.field?.when ? !box.field.when(values) : false;
    box.hidden = hidden;
    inputOf(box).disabled = hidden;
  }
}

/** A form with one button. `submit(values)` may refuse. `before` and `below`: what stands around the fields. */
export function form(
  fields,
  submit,
  { label = t('save'), test, before, below = [], kind = 'primary', extra = [], waits = noteFailure } = {},
) {
  const said = h('div', {});
  const element = h('form', {
    class: 'form',
    test,
    id: `form-${++numbers}`,
    oninput: () => settle(element),
    onsubmit: (event) => send(event),
  });
  const go = button(label, () => {}, { kind, test: test && `${test}-submit` });
  go.type = 'submit';
  go.onclick = null;
  async function send(event) {
    event.preventDefault();
    render(said);
    go.setAttribute('aria-busy', 'true');
    try {
      await submit(typed(element), element);
    } catch (failed) {
      if (failed.approval) return waits(failed);
      render(said, failure(failed));
      pointAt(element, failed.field);
      if (failed.status === undefined) console.error(failed);
    } finally {
      go.removeAttribute('aria-busy');
    }
  }
  element.append(
    ...(before ? [before] : []),
    ...fields.map((one) => fieldOf(one, element)),
    ...below,
    said,
    h('div', { class: 'form-end' }, ...extra, go),
  );
  settle(element);
  return element;
}

/** The field that the server did not like. */
function pointAt(element, name) {
  for (const box of element.querySelectorAll('.field')) {
    const input = inputOf(box);
    if (name && box.field?.name === name) {
      input.setAttribute('aria-invalid', 'true');
      input.focus();
    } else {
      input.removeAttribute('aria-invalid');
    }
  }
}

/** A dialog over the page; `content(close)` makes what is in it. Resolves when it is closed, with what
 *  `close` was given. */
export function dialog(title, content, { test, wide = false } = {}) {
  return new Promise((resolve) => {
    const id = `dialog-${++numbers}`;
    let result;
    const box = h('dialog', {
      class: wide ? 'wide' : null,
      test,
      'aria-labelledby': id,
      onclose: () => {
        box.remove();
        resolve(result);
      },
    });
    const close = (value) => {
      result = value;
      box.close();
    };
    box.append(
      h(
        'header',
        { class: 'dialog-head' },
        h('h2', { id }, title),
        signButton(t('close'), 'close', () => close(), { test: 'dialog-close' }),
      ),
      h('div', { class: 'dialog-body' }, content(close)),
    );
    document.body.append(box);
    box.showModal();
  });
}

/** A form in a dialog; resolves with the answer of `submit`, or with undefined when it was closed. */
export function ask(title, fields, submit, options = {}) {
  return dialog(
    title,
    (close) =>
      form(fields, async (values, element) => close((await submit(values, element)) ?? true), {
        ...options,
        waits: (failed) => {
          close();
          noteFailure(failed);
        },
        extra: [button(t('cancel'), () => close(), { test: 'dialog-cancel' }), ...(options.extra ?? [])],
      }),
    options,
  );
}

/** A question; resolves with true when the answer is yes. */
export function confirm(title, text, yes, { danger = false, test = 'confirm', act = async () => {} } = {}) {
  return ask(title, [], act, {
    before: h('div', { class: 'question' }, text),
    label: yes,
    kind: danger ? 'danger' : 'primary',
    test,
  });
}

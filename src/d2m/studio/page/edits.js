// Sliders: what the bundle and the studio's files can move, and how strongly the state does.

import { strengthAt } from './timeline.js';

export const METHODS = {
  mean_shift: 'Mean shift', boundary: 'Boundary', erasure: 'Erasure', transport: 'Transport',
};
const AXES = 6;

const same = (a, b) => {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((k) => (a[k] ?? null) === (b[k] ?? null));
};

export const request = ({ strength, ...rest }) => rest;

export function label(edit) {
  if (edit.file) return edit.file.split('/').pop();
  if (edit.name === 'axes') return `axis ${edit.axis + 1}`;
  const way = [edit.source, edit.target].filter(Boolean).join(' → ');
  return edit.name === 'optimise' ? `optimised ${way}` : `${(METHODS[edit.name] || edit.name).toLowerCase()} ${way}`;
}

const element = (tag, properties = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
};

export class Edits {
  // calls: set(edits, live), curve(request or null), now(), seconds()
  constructor(root, calls) {
    Object.assign(this, { root, calls, rows: [], curve: null });
    this.chosen = { method: 'mean_shift', source: null };
  }

  find(state, wanted) {
    return state.edits.find((e) => same(request(e), wanted));
  }

  // Builds the sliders of a bundle; `heard`: genres of the song, the loudest is the source at first.
  build(there, bundle, state, heard) {
    this.there = there;
    this.bundle = bundle;
    this.root.replaceChildren();
    this.rows = [];
    const means = bundle.means;
    const told = state.edits.find((e) => e.source && means.includes(e.source));
    const likely = Object.entries(heard || {}).filter(([g]) => means.includes(g)).sort((a, b) => b[1] - a[1])[0];
    if (!means.includes(this.chosen.source)) this.chosen.source = told ? told.source : (likely || [means[0]])[0];
    if (means.length > 1) this.genres(state);
    else this.root.append(element('p', { className: 'soft', textContent: 'This bundle has no genre means (d2m study means adds them).' }));
    if (there.latents) {
      const axes = Array.from({ length: AXES }, (_, axis) => ({ name: 'axes', axis, latents: there.latents, rows: 'all' }));
      this.group('Principal axes, in standard deviations', axes, -3, 3);
    }
    const files = there.directions.filter((d) => !d.space || d.space === bundle.space);
    if (files.length) this.group('Directions from files', files.map((d) => ({ file: d.path })), -2, 2);
    const others = state.edits.map(request).filter((r) => !this.rows.some((row) => same(row.request, r)));
    if (others.length) this.group('Other edits of this state', others, -1, 2);
    if (bundle.judge && means.length > 1) this.optimiser(state);
    this.show(state);
  }

  genres(state) {
    const methods = element('select', { id: 'method', ariaLabel: 'Method of the genre sliders' });
    for (const [name, text] of Object.entries(METHODS)) {
      const known = name === 'mean_shift' || this.there.latents;
      methods.append(element('option', { value: name, textContent: known ? text : `${text} (needs latents=)`, disabled: !known }));
    }
    methods.value = this.chosen.method;
    const sources = element('select', { id: 'source', ariaLabel: 'Genre to leave' });
    for (const g of this.bundle.means) sources.append(element('option', { value: g, textContent: `from ${g}` }));
    sources.value = this.chosen.source;
    sources.disabled = this.chosen.method === 'erasure';
    const again = () => {
      this.chosen = { method: methods.value, source: sources.value };
      this.build(this.there, this.bundle, this.calls.state(), null);
      document.getElementById('method').focus();
    };
    methods.addEventListener('change', again);
    sources.addEventListener('change', again);
    const { method, source } = this.chosen;
    const wanted = this.bundle.means.filter((g) => method === 'erasure' || g !== source).map((target) => {
      const plain = method === 'erasure' ? { name: method, target } : { name: method, source, target };
      return method === 'mean_shift' ? plain : { ...plain, latents: this.there.latents };
    });
    this.group('Genres', wanted, -1, 2, element('div', { className: 'row' }, methods, sources), (r) => r.target);
  }

  group(title, requests, low, high, before = null, name = label) {
    const box = element('fieldset', {}, element('legend', { textContent: title }));
    if (before) box.append(before);
    requests.forEach((r) => box.append(this.row(r, low, high, name(r))));
    this.root.append(box);
  }

  row(wanted, low, high, name) {
    const id = `slider-${this.rows.length}`;
    const slider = element('input', { id, type: 'range', min: low, max: high, step: 0.05, value: 0 });
    slider.dataset.edit = JSON.stringify(wanted);
    const out = element('output', { htmlFor: id, textContent: '–' });
    const curve = element('button', { type: 'button', textContent: '∿', title: 'Strength along the song' });
    curve.setAttribute('aria-label', `curve of ${name}`);
    curve.setAttribute('aria-pressed', 'false');
    const off = element('button', { type: 'button', textContent: '×', title: 'Take this edit away' });
    off.setAttribute('aria-label', `remove ${name}`);
    slider.addEventListener('input', () => this.calls.strength(wanted, Number(slider.value), true));
    slider.addEventListener('change', () => this.calls.strength(wanted, Number(slider.value), false));
    curve.addEventListener('click', () => this.calls.curve(wanted, [low, high]));
    off.addEventListener('click', () => this.calls.remove(wanted));
    this.rows.push({ request: wanted, slider, out, curve, off });
    return element('div', { className: 'slider' }, element('label', { htmlFor: id, textContent: name }), slider, out, curve, off);
  }

  optimiser() {
    const targets = element('select', { ariaLabel: 'Genre to optimise towards', id: 'optimise-target' });
    for (const g of this.bundle.means.filter((m) => m !== this.chosen.source)) targets.append(element('option', { textContent: g }));
    const go = element('button', { type: 'button', id: 'optimise', textContent: 'Optimise' });
    go.addEventListener('click', () => this.calls.optimise({ name: 'optimise', source: this.chosen.source, target: targets.value }));
    this.root.append(element('fieldset', {}, element('legend', { textContent: 'Optimiser' }),
      element('p', { className: 'soft', textContent: 'Descends through the networks towards motion of the genre; it takes a while, and Cancel ends it.' }),
      element('div', { className: 'row' }, targets, go)));
  }

  // Puts the state's strengths at the playhead onto the sliders.
  show(state) {
    const t = this.calls.now();
    for (const { request: r, slider, out, curve, off } of this.rows) {
      const edit = this.find(state, r);
      const strength = edit ? edit.strength : 0;
      const value = strengthAt(strength, t);
      if (document.activeElement !== slider || typeof strength !== 'number' || !edit) slider.value = value;
      out.textContent = edit ? value.toFixed(2) : '–';
      curve.setAttribute('aria-pressed', String(Boolean(edit && typeof strength !== 'number')));
      off.disabled = !edit;
    }
  }
}

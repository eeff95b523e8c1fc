// Sliders: what the bundle and the studio's files can move, and how strongly the state does.

import { element, soft } from './dom.js';
import { METHODS, label, request, same } from './names.js';
import { strengthAt } from './timeline.js';

const AXES = 6;

export class Edits {
  // calls: state(), now(), strength(request, value, moving), remove(request), curve(request), optimise(request)
  constructor(root, calls) {
    Object.assign(this, { root, calls, rows: [], curve: null });
    this.chosen = { method: 'mean_shift', source: null }; // source: only if it was chosen by hand
  }

  find(state, wanted) {
    return state.edits.find((e) => same(request(e), wanted));
  }

  // Builds the sliders of a bundle; `heard`: genres of the song, the loudest is the source at first.
  build(there, bundle, state, heard) {
    this.there = there;
    this.bundle = bundle;
    this.latents = there.latents_space && there.latents_space !== bundle.space ? null : there.latents;
    this.root.replaceChildren();
    this.rows = [];
    const means = bundle.means;
    const told = state.edits.find((e) => e.source && means.includes(e.source));
    const likely = Object.entries(heard || {}).filter(([g]) => means.includes(g)).sort((a, b) => b[1] - a[1])[0];
    if (!means.includes(this.chosen.source)) this.chosen.source = null;
    this.source = this.chosen.source || (told ? told.source : (likely || [means[0]])[0]);
    if (means.length > 1) this.genres(state);
    else this.root.append(soft('This bundle has no genre means; d2m study means adds them.'));
    if (this.latents) {
      const axes = Array.from({ length: AXES }, (_, axis) => ({ name: 'axes', axis, latents: this.latents, rows: 'all' }));
      this.group('Principal axes of the songs: standard deviations', axes, -3, 3);
    }
    const files = there.directions.filter((d) => !d.space || d.space === bundle.space);
    if (files.length) this.group('Directions from files: strength', files.map((d) => ({ file: d.path })), -2, 2);
    const others = state.edits.map(request).filter((r) => !this.rows.some((row) => same(row.request, r)));
    if (others.length) this.group('Other edits of this state: strength', others, -1, 2);
    if (bundle.judge && means.length > 1) this.optimiser(state);
    this.show(state);
  }

  genres(state) {
    const methods = element('select', { id: 'method', ariaLabel: 'Method of the genre sliders' });
    for (const [name, text] of Object.entries(METHODS)) {
      const known = name === 'mean_shift' || this.latents;
      methods.append(element('option', { value: name, textContent: known ? text : `${text} (needs latents= of this bundle)`, disabled: !known }));
    }
    methods.value = this.chosen.method;
    const sources = element('select', { id: 'source', ariaLabel: 'Genre to leave' });
    for (const g of this.bundle.means) sources.append(element('option', { value: g, textContent: `from ${g}` }));
    sources.value = this.source;
    sources.disabled = this.chosen.method === 'erasure';
    const again = () => {
      this.chosen = { method: methods.value, source: sources.value };
      this.build(this.there, this.bundle, this.calls.state(), null);
      document.getElementById('method').focus();
    };
    methods.addEventListener('change', again);
    sources.addEventListener('change', again);
    const { source } = this;
    const { method } = this.chosen;
    const wanted = this.bundle.means.filter((g) => method === 'erasure' || g !== source).map((target) => {
      const plain = method === 'erasure' ? { name: method, target } : { name: method, source, target };
      return method === 'mean_shift' ? plain : { ...plain, latents: this.latents };
    });
    const told = soft('0 is the original dance, 1 the whole way to the genre.');
    this.group('Genres: strength', wanted, -1, 2, element('div', {}, element('div', { className: 'row' }, methods, sources), told), (r) => r.target);
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
    const range = element('span', { className: 'range' }, slider);
    range.style.setProperty('--zero', -low / (high - low)); // a mark where the dance is the original
    const out = element('output', { htmlFor: id, textContent: '–' });
    const curve = element('button', { type: 'button', textContent: '∿', title: 'Curve: strength along the song' });
    curve.setAttribute('aria-label', `curve of ${name}`);
    curve.setAttribute('aria-pressed', 'false');
    const off = element('button', { type: 'button', textContent: '×', title: 'Take this edit away' });
    off.setAttribute('aria-label', `remove ${name}`);
    slider.addEventListener('input', () => this.calls.strength(wanted, Number(slider.value), true));
    slider.addEventListener('change', () => this.calls.strength(wanted, Number(slider.value), false));
    curve.addEventListener('click', () => this.calls.curve(wanted));
    off.addEventListener('click', () => this.calls.remove(wanted));
    this.rows.push({ request: wanted, range: [low, high], slider, out, curve, off });
    return element('div', { className: 'slider' }, element('label', { htmlFor: id, textContent: name, title: name }), range, out, curve, off);
  }

  optimiser() {
    const targets = element('select', { id: 'optimise-target' });
    for (const g of this.bundle.means.filter((m) => m !== this.source)) targets.append(element('option', { textContent: g }));
    const go = element('button', { type: 'button', id: 'optimise', textContent: 'Optimise' });
    go.addEventListener('click', () => this.calls.optimise({ name: 'optimise', source: this.source, target: targets.value }));
    this.root.append(element('fieldset', {}, element('legend', { textContent: 'Optimiser' }),
      soft('Searches for latents whose dance is of the genre and keeps its choreography. It takes a while; Cancel ends it.'),
      element('div', { className: 'row' }, element('label', {}, 'Towards ', targets), go)));
  }

  // Strengths that an edit's slider reaches.
  rangeOf(wanted) {
    const row = this.rows.find((r) => same(r.request, wanted));
    return row ? row.range : [-1, 2];
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

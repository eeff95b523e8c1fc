// Training runs beside each other: curves, last numbers, evaluations, and what differs in their configs.

import { element, number, scrolled, soft, table } from './dom.js';
import { Evaluated } from './evaluated.js';
import { MOST, paint } from './palette.js';
import { plot } from './plot.js';
import { get } from './wire.js';

// The monitored curves of the stages that dance, and of the first.
const TELLING = ['generator/val/loss', 'mm_gan/val/recon', 'du_vae/val/recon'];
const text = (v) => (typeof v === 'object' && v !== null ? JSON.stringify(v) : number(v));
// Values as cells; marked if they are not the first one's.
const marked = (values) => values.map((v) => [text(v), JSON.stringify(v ?? null) === JSON.stringify(values[0] ?? null) ? '' : 'differs']);
const differ = (values) => new Set(values.map((v) => JSON.stringify(v ?? null))).size > 1;

// Whether a run is what a word of the filter asks for: KEY=VALUE, KEY<NUMBER, KEY>NUMBER of its config, or part of its name.
export function matches(run, word) {
  const [, key, how, value] = /^([\w./]+)([=<>])(.+)$/.exec(word) || [];
  if (!key) return `${run.name} ${run.state}`.toLowerCase().includes(word.toLowerCase());
  return Object.entries(run.config).some(([k, v]) => {
    if (k !== key && !k.endsWith(`.${key}`)) return false;
    if (how === '=') return String(v).toLowerCase() === value.toLowerCase();
    return typeof v === 'number' && (how === '<' ? v < Number(value) : v > Number(value));
  });
}

export class Runs {
  // calls: complain
  constructor(root, calls) {
    Object.assign(this, { root, calls, data: { runs: [] }, chosen: new Set(), plotted: null });
  }

  async open(there) {
    if (this.built) return;
    this.built = true;
    this.there = there;
    if (there.runs) await this.build();
    else this.root.append(soft('No runs: start d2m studio with runs=FOLDER, the one that d2m train writes to, for training curves and configs.'));
    this.evaluated = new Evaluated(this.root, (await get('api/evaluations')).measured);
    if (there.runs) {
      this.differences = scrolled('runs-differences', 'Differences of the chosen runs');
      this.root.append(element('h2', { textContent: 'Differences' }), this.differences);
    }
    this.compare();
  }

  async build() {
    this.data = await get('api/runs');
    this.filter = element('input', { type: 'search', id: 'runs-filter', placeholder: 'name, size=small, seed>1', ariaLabel: 'Filter runs by name or config' });
    this.filter.addEventListener('input', () => this.list());
    this.table = scrolled('runs-list', 'Runs');
    const keys = new Set();
    for (const run of this.data.runs) for (const [stage, names] of Object.entries(run.stages)) for (const n of names) keys.add(`${stage}/${n}`);
    this.curve = element('select', { id: 'runs-curve', ariaLabel: 'Curve' }, ...[...keys].sort().map((k) => new Option(k, k)));
    this.curve.value = this.usual([...keys]) || this.curve.value;
    this.curve.addEventListener('change', () => this.curves().catch(this.calls.complain));
    this.canvas = element('canvas', { id: 'runs-canvas', ariaLabel: 'training curves' });
    this.canvas.setAttribute('role', 'img');
    this.legend = element('p', { className: 'soft', id: 'runs-legend' });
    this.root.append(
      element('h2', { textContent: 'Runs' }), this.filter, this.table,
      element('h2', { textContent: 'Training' }), this.curve, this.canvas, this.legend,
    );
    new ResizeObserver(() => (this.plotted ? this.draw() : this.curves().catch(this.calls.complain))).observe(this.canvas);
    const spaces = this.there.bundles.map((b) => b.space);
    const own = this.data.runs.filter((r) => spaces.includes(r.space));
    for (const run of [...own, ...this.data.runs].slice(0, Math.max(2, own.length))) this.chosen.add(run.name);
    this.list();
  }

  // The validation curve that most runs logged; of equals, what the last of the stages is trained for.
  usual(keys) {
    const rank = (k) => [...TELLING, k].indexOf(k);
    const of = (k) => this.data.runs.filter((r) => (r.stages[k.split('/')[0]] || []).includes(k.slice(k.indexOf('/') + 1))).length;
    return keys.filter((k) => k.includes('/val/')).sort((a, b) => of(b) - of(a) || rank(a) - rank(b) || a.localeCompare(b))[0];
  }

  list() {
    const words = this.filter.value.split(/\s+/).filter(Boolean);
    const found = this.data.runs.filter((r) => words.every((w) => matches(r, w)));
    const rows = found.map((run) => {
      const box = element('input', { type: 'checkbox', checked: this.chosen.has(run.name), ariaLabel: `show ${run.name}` });
      box.addEventListener('change', () => {
        if (box.checked) this.chosen.add(run.name); else this.chosen.delete(run.name);
        this.compare();
      });
      return [element('label', { className: 'check' }, box, ` ${run.name}`), [run.state, `${Math.round(run.seconds / 60)} min`]];
    });
    const none = this.data.runs.length ? 'No run matches.' : `No runs below ${this.there.runs}.`;
    this.table.replaceChildren(rows.length ? table('', ['run', 'state', 'training'], rows) : soft(none));
  }

  get shown() { return this.data.runs.filter((r) => this.chosen.has(r.name)).slice(0, MOST); }

  compare() {
    const runs = this.shown;
    const names = new Map(this.there.bundles.map((b) => [b.space, b.name]));
    for (const run of runs) if (run.space && !names.has(run.space)) names.set(run.space, run.name);
    this.evaluated.show(names);
    if (!this.differences) return;
    const rows = [];
    for (const key of new Set(runs.flatMap((r) => Object.keys(r.config)))) {
      const values = runs.map((r) => r.config[key]);
      if (differ(values)) rows.push([key, marked(values)]);
    }
    const logged = new Set(runs.flatMap((r) => Object.entries(r.metrics).flatMap(
      ([stage, found]) => Object.keys(found).filter((k) => k.startsWith('val/') || stage === 'bundle').map((k) => `${stage} ${k}`),
    )));
    for (const key of logged) {
      const [stage, name] = key.split(' ');
      const values = runs.map((r) => (r.metrics[stage] || {})[name]);
      rows.push([key, values.map(text)]);
    }
    this.differences.replaceChildren(runs.length ? table('What differs in their configs, marked if other than in the first run; last validation numbers', ['', ...runs.map((r) => r.name)], rows) : soft('Choose runs above.'));
    this.curves().catch(this.calls.complain);
  }

  async curves() {
    if (!this.curve.value || !this.canvas.clientWidth) return;
    const [stage, ...rest] = this.curve.value.split('/');
    const key = rest.join('/');
    const wanted = this.shown.filter((r) => (r.stages[stage] || []).includes(key));
    const name = (r) => `api/curves?run=${encodeURIComponent(r.name)}&stage=${encodeURIComponent(stage)}&key=${encodeURIComponent(key)}`;
    this.plotted = { wanted, lines: await Promise.all(wanted.map(async (r) => (await get(name(r))).points)) };
    this.draw();
  }

  // The curves that were fetched, in the colours of now.
  draw() {
    if (!this.plotted) return;
    const { wanted, lines } = this.plotted;
    plot(this.canvas, lines, 'batches');
    this.canvas.setAttribute('aria-label', `${this.curve.value} of ${wanted.map((r) => r.name).join(', ') || 'no run'}`);
    this.legend.replaceChildren(...wanted.flatMap((r, k) => {
      const swatch = element('span', { textContent: '■ ', ariaHidden: 'true' });
      swatch.style.color = paint(k);
      return [swatch, `${r.name}  `];
    }));
    if (!wanted.length) this.legend.append('None of the chosen runs logged it.');
  }
}

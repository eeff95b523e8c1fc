// The map of latents, and training runs side by side.

import { get } from './wire.js';

const element = (tag, properties = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
};
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b8860b', '#56b4e9', '#8055c0', '#777777', '#e03050', '#3a8a3a'];
const MARKS = ['●', '▲', '■', '◆', '▼', '✚', '★', '✖', '⬟', '⬢'];
const number = (v) => (typeof v === 'number' ? Number(v.toPrecision(4)).toString() : v === null || v === undefined ? '–' : String(v));

// calls: pick(song name), blend({x, y} in standard deviations)
export class LatentMap {
  constructor(root, calls) {
    Object.assign(this, { root, calls, data: null, held: null });
  }

  async open(there) {
    if (this.built) return;
    this.built = true;
    if (!there.latents) {
      this.root.append(element('p', { className: 'soft', textContent: 'No latents of songs: d2m study extract writes them; then start with latents=FILE.' }));
      return;
    }
    const how = element('select', { id: 'map-how', ariaLabel: 'Projection' }, new Option('PCA', 'pca'), new Option('t-SNE', 'tsne'));
    this.side = element('select', { id: 'map-side', ariaLabel: 'Whose latents' }, new Option('of the music', 'music'), new Option('of the dances', 'dance'));
    this.side.addEventListener('change', () => this.load(how.value).catch(this.calls.complain));
    this.canvas = element('canvas', { id: 'map-canvas' });
    this.canvas.setAttribute('role', 'img');
    this.told = element('p', { className: 'soft', id: 'map-told' });
    this.hover = element('p', { id: 'map-hover', textContent: ' ' });
    this.songs = element('select', { id: 'map-songs', ariaLabel: 'Song of the map' });
    this.songs.addEventListener('change', () => this.calls.pick(this.songs.value));
    this.root.append(element('div', { className: 'row' }, how, this.side, this.songs), this.canvas, this.hover, this.told);
    how.addEventListener('change', () => this.load(how.value).catch(this.calls.complain));
    this.canvas.addEventListener('pointerdown', (e) => this.down(e));
    this.canvas.addEventListener('pointermove', (e) => this.move(e));
    this.canvas.addEventListener('pointerup', (e) => this.up(e));
    await this.load('pca');
  }

  async load(how) {
    this.data = await get(`api/map?how=${how}&side=${this.side.value}`);
    const { points, silhouette: s, shares, side } = this.data;
    this.songs.replaceChildren(new Option('choose a song', ''), ...points.map((p) => new Option(`${p.song} (${p.genre})`, p.song)));
    const axes = shares.length ? `the axes hold ${shares.map((v) => `${Math.round(100 * v)} %`).join(' and ')} of the variance; ` : '';
    this.told.textContent = `${points.length} songs (${side}); ${axes}silhouette of genres ${s.value.toFixed(3)}, `
      + `shuffled genres ${s.null[0].toFixed(3)} to ${s.null[1].toFixed(3)}, p = ${s.p.toFixed(3)}. `
      + `${this.movable ? 'Click a song to dance to it; drag a point to move the dance along both axes.' : 'Click a song to dance to it.'}`;
    this.canvas.setAttribute('aria-label', `map of ${points.length} songs by ${how}; the list beside it names them`);
    this.draw();
  }

  // The sliders move along the axes of the music's latents.
  get movable() { return this.data.deviations && this.data.side === 'music'; }

  place(p) {
    const [x, y] = ['x', 'y'].map((c) => this.data.points.map((q) => q[c]));
    const scale = (v, all, size) => 20 + ((v - Math.min(...all)) / Math.max(Math.max(...all) - Math.min(...all), 1e-9)) * (size - 40);
    return [scale(p.x, x, this.canvas.clientWidth), this.canvas.clientHeight - scale(p.y, y, this.canvas.clientHeight)];
  }

  draw() {
    if (!this.data) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    Object.assign(this.canvas, { width: this.canvas.clientWidth * ratio, height: this.canvas.clientHeight * ratio });
    const g = this.canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    g.scale(ratio, ratio);
    g.fillStyle = style.getPropertyValue('--card');
    g.fillRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    g.textAlign = 'center';
    g.textBaseline = 'middle';
    g.font = '14px sans-serif';
    for (const p of this.data.points) {
      const k = this.data.genres.indexOf(p.genre);
      g.fillStyle = PALETTE[k % PALETTE.length];
      g.fillText(MARKS[k % MARKS.length], ...(this.held && this.held.point === p ? this.held.at : this.place(p)));
    }
    g.textAlign = 'left';
    this.data.genres.forEach((genre, k) => {
      g.fillStyle = PALETTE[k % PALETTE.length];
      g.fillText(MARKS[k % MARKS.length], 8, 14 + 18 * k);
      g.fillStyle = style.getPropertyValue('--ink');
      g.fillText(genre, 24, 14 + 18 * k);
    });
  }

  at(e) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [e.clientX - left, e.clientY - top];
  }

  near(at) {
    if (!this.data) return null;
    const far = (p) => Math.hypot(...this.place(p).map((v, i) => v - at[i]));
    const best = this.data.points.reduce((a, b) => (far(b) < far(a) ? b : a));
    return far(best) < 14 ? best : null;
  }

  down(e) {
    const at = this.at(e);
    const point = this.near(at);
    if (!point) return;
    this.canvas.setPointerCapture(e.pointerId);
    this.held = { point, from: at, at };
  }

  move(e) {
    const at = this.at(e);
    if (this.held) {
      if (this.movable) this.held.at = at;
      this.draw();
      return;
    }
    const point = this.near(at);
    this.hover.textContent = point ? `${point.song}: ${point.genre}${point.split ? `, ${point.split}` : ''}` : ' ';
  }

  up(e) {
    if (!this.held) return;
    const { point, from } = this.held;
    const at = this.at(e);
    this.held = null;
    this.draw();
    const moved = Math.hypot(at[0] - from[0], at[1] - from[1]);
    if (moved < 5) this.calls.pick(point.song);
    else if (this.movable) {
      const [x, y] = ['x', 'y'].map((c) => this.data.points.map((q) => q[c]));
      const span = (all) => Math.max(...all) - Math.min(...all);
      this.calls.blend({
        x: (((at[0] - from[0]) / (this.canvas.clientWidth - 40)) * span(x)) / this.data.deviations[0],
        y: ((-(at[1] - from[1]) / (this.canvas.clientHeight - 40)) * span(y)) / this.data.deviations[1],
      });
    }
  }
}

export class Runs {
  constructor(root) {
    Object.assign(this, { root, chosen: new Set() });
  }

  async open(there) {
    if (this.built) return;
    this.built = true;
    if (!there.runs) {
      this.root.append(element('p', { className: 'soft', textContent: 'No runs: start with runs=FOLDER, the one that d2m train writes to.' }));
      return;
    }
    this.data = await get('api/runs');
    this.filter = element('input', { type: 'search', id: 'runs-filter', placeholder: 'filter by name or config', ariaLabel: 'Filter runs by name or config' });
    this.filter.addEventListener('input', () => this.list());
    this.table = element('div', { className: 'wide' });
    this.table.tabIndex = 0;
    this.table.setAttribute('role', 'region');
    this.table.setAttribute('aria-label', 'Runs');
    this.curve = element('select', { id: 'runs-curve', ariaLabel: 'Curve' });
    const keys = new Set();
    for (const run of this.data.runs) for (const [stage, names] of Object.entries(run.stages)) for (const n of names) keys.add(`${stage}/${n}`);
    this.curve.append(...[...keys].sort().map((k) => new Option(k, k)));
    for (const [stage, names] of Object.entries((this.data.runs[0] || { stages: {} }).stages)) {
      const first = names.find((n) => n.startsWith('val/'));
      if (first) {
        this.curve.value = `${stage}/${first}`;
        break;
      }
    }
    this.curve.addEventListener('change', () => this.curves());
    this.canvas = element('canvas', { id: 'runs-canvas' });
    this.canvas.setAttribute('role', 'img');
    this.legend = element('p', { className: 'soft', id: 'runs-legend' });
    this.differences = element('div', { className: 'wide', id: 'runs-differences' });
    this.differences.tabIndex = 0;
    this.differences.setAttribute('role', 'region');
    this.differences.setAttribute('aria-label', 'Differences of the chosen runs');
    this.root.append(this.filter, this.table, this.curve, this.canvas, this.legend, this.differences);
    for (const run of this.data.runs.slice(0, 2)) this.chosen.add(run.name);
    this.list();
    this.compare();
  }

  list() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (run) => `${run.name} ${run.state} ${Object.entries(run.config).map(([k, v]) => `${k}=${v}`).join(' ')}`.toLowerCase();
    const t = element('table', { className: 'plain' });
    const head = t.createTHead().insertRow();
    for (const name of ['', 'run', 'state', 'time']) head.append(element('th', { scope: 'col', textContent: name || 'show' }));
    const body = t.createTBody();
    for (const run of this.data.runs.filter((r) => words.every((w) => text(r).includes(w)))) {
      const row = body.insertRow();
      const box = element('input', { type: 'checkbox', checked: this.chosen.has(run.name), ariaLabel: `show ${run.name}` });
      box.addEventListener('change', () => {
        if (box.checked) this.chosen.add(run.name); else this.chosen.delete(run.name);
        this.compare();
      });
      row.insertCell().append(box);
      row.append(element('th', { scope: 'row', textContent: run.name }));
      row.insertCell().textContent = run.state;
      row.insertCell().textContent = `${Math.round(run.seconds / 60)} min`;
    }
    this.table.replaceChildren(t);
  }

  get shown() { return this.data.runs.filter((r) => this.chosen.has(r.name)).slice(0, PALETTE.length); }

  compare() {
    const runs = this.shown;
    const t = element('table', { className: 'plain' });
    const head = t.createTHead().insertRow();
    for (const name of ['', ...runs.map((r) => r.name)]) head.append(element('th', { scope: 'col', textContent: name }));
    const body = t.createTBody();
    const line = (name, values) => {
      const row = body.insertRow();
      if (new Set(values.map((v) => JSON.stringify(v))).size > 1) row.className = 'differs';
      row.append(element('th', { scope: 'row', textContent: name }));
      for (const v of values) row.insertCell().textContent = number(v);
    };
    for (const key of this.data.differ) {
      const values = runs.map((r) => r.config[key]);
      if (new Set(values.map((v) => JSON.stringify(v))).size > 1) line(key, values);
    }
    const metrics = new Set(runs.flatMap((r) => Object.entries(r.metrics).flatMap(([s, m]) => Object.keys(m).filter((k) => k.startsWith('val/') || s === 'bundle').map((k) => `${s} ${k}`))));
    for (const key of metrics) {
      const [stage, name] = key.split(' ');
      line(key, runs.map((r) => (r.metrics[stage] || {})[name]));
    }
    this.differences.replaceChildren(t);
    this.curves();
  }

  async curves() {
    const [stage, ...rest] = this.curve.value.split('/');
    const key = rest.join('/');
    const wanted = this.shown.filter((r) => (r.stages[stage] || []).includes(key));
    const lines = await Promise.all(wanted.map(async (r) => (await get(`api/curves?run=${encodeURIComponent(r.name)}&stage=${stage}&key=${encodeURIComponent(key)}`)).points));
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight];
    Object.assign(this.canvas, { width: w * ratio, height: h * ratio });
    this.canvas.setAttribute('aria-label', `${this.curve.value} of ${wanted.map((r) => r.name).join(', ') || 'no run'}`);
    const g = this.canvas.getContext('2d');
    g.scale(ratio, ratio);
    const all = lines.flat();
    this.legend.replaceChildren();
    if (!all.length) {
      this.legend.append('none of these runs logged it');
      return;
    }
    const [x0, x1] = [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
    const [y0, y1] = [Math.min(...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
    lines.forEach((points, k) => {
      g.strokeStyle = PALETTE[k];
      g.lineWidth = 2;
      g.beginPath();
      points.forEach(([x, y], i) => {
        const at = [6 + ((x - x0) / Math.max(x1 - x0, 1e-9)) * (w - 12), h - 6 - ((y - y0) / Math.max(y1 - y0, 1e-12)) * (h - 12)];
        if (i) g.lineTo(...at); else g.moveTo(...at);
      });
      g.stroke();
      const swatch = element('span', { textContent: '■ ' });
      swatch.style.color = PALETTE[k];
      this.legend.append(swatch, `${wanted[k].name}  `);
    });
    this.legend.append(`${number(y0)} to ${number(y1)}, ${number(x1)} batches`);
  }
}

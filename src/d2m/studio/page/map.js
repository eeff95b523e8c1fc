// The map of songs' latents: hover plays, a click dances, a dragged point moves the dance.

import { colour, element, sheet, soft } from './dom.js';
import { mark, paint } from './palette.js';
import { get } from './wire.js';

const NEAR = 14; // pixels
const EDGE = 20;
const REST_MS = 200; // how long the pointer rests before a song plays
const stem = (name) => name.split('/').pop().replace(/\.[^.]*$/, '');

export class LatentMap {
  // calls: pick(song name), blend({x, y} in standard deviations), complain, audio(): the main player's,
  // shown(): path of the song that is danced to
  constructor(root, calls) {
    Object.assign(this, { root, calls, data: null, held: null, over: null, timer: 0 });
    this.sound = new Audio();
    this.sound.volume = 0.8;
    this.sound.addEventListener('ended', () => this.hush());
  }

  async open(there) {
    this.there = there;
    if (this.data) this.draw();
    if (this.built) return;
    this.built = true;
    if (!there.latents) {
      this.root.append(soft('No latents of songs. d2m study extract writes them; then start d2m studio with latents=FILE.'));
      return;
    }
    const choose = (id, name, options) => {
      const select = element('select', { id, ariaLabel: name }, ...options.map(([text, value]) => new Option(text, value)));
      select.addEventListener('change', () => this.load().catch(this.calls.complain));
      return select;
    };
    this.how = choose('map-how', 'Projection', [['PCA', 'pca'], ['t-SNE', 'tsne']]);
    this.side = choose('map-side', 'Whose latents', [['of the music', 'music'], ['of the dances', 'dance']]);
    this.songs = element('select', { id: 'map-songs', ariaLabel: 'Song of the map' });
    this.songs.addEventListener('change', () => this.songs.value && this.calls.pick(this.songs.value));
    this.plays = element('input', { type: 'checkbox', id: 'map-plays', checked: true });
    this.canvas = element('canvas', { id: 'map-canvas', ariaLabel: 'map of songs' });
    this.canvas.setAttribute('role', 'img');
    this.told = element('p', { className: 'soft', id: 'map-told', textContent: 'computing the map …' });
    this.hover = element('p', { id: 'map-hover', textContent: ' ' });
    this.root.append(
      element('div', { className: 'row' }, this.how, this.side, this.songs), this.canvas, this.hover,
      element('label', { className: 'check' }, this.plays, ' hover plays the song’s loudest seconds'), this.told,
    );
    this.canvas.addEventListener('pointerdown', (e) => this.down(e));
    this.canvas.addEventListener('pointermove', (e) => this.move(e));
    this.canvas.addEventListener('pointerup', (e) => this.up(e));
    for (const name of ['pointerleave', 'pointercancel']) this.canvas.addEventListener(name, () => this.rest(null));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    await this.load();
  }

  async load() {
    const how = this.how.value;
    this.data = await get(`api/map?how=${how}&side=${this.side.value}`);
    const { points, silhouette: s, shares, side } = this.data;
    this.songs.replaceChildren(new Option('choose a song', ''), ...points.map((p) => new Option(`${p.song} (${p.genre})`, p.song)));
    const axes = shares.length ? `The axes hold ${shares.map((v) => `${Math.round(100 * v)} %`).join(' and ')} of the variance. ` : '';
    this.told.textContent = `${points.length} songs, ${side === 'dance' ? 'latents of their real dances' : 'latents of their music'}. ${axes}`
      + `Silhouette of genres ${s.value.toFixed(3)}; with shuffled genres ${s.null[0].toFixed(3)} to ${s.null[1].toFixed(3)} (95 %), p = ${s.p.toFixed(3)}. `
      + `Click a song to dance to it${this.movable ? '; drag a point to move the dance along both axes' : ''}.`;
    this.canvas.setAttribute('aria-label', `map of ${points.length} songs by ${how}; the list above it names them`);
    this.draw();
  }

  // The sliders move along the axes of the music's latents.
  get movable() { return this.data.deviations && this.data.side === 'music'; }

  span(axis) {
    const all = this.data.points.map((p) => p[axis]);
    const low = Math.min(...all);
    return [low, Math.max(Math.max(...all) - low, 1e-9)];
  }

  place(p) {
    const at = (axis, size) => EDGE + ((p[axis] - this.span(axis)[0]) / this.span(axis)[1]) * (size - 2 * EDGE);
    return [at('x', this.canvas.clientWidth), this.canvas.clientHeight - at('y', this.canvas.clientHeight)];
  }

  draw() {
    if (!this.data || !this.canvas.clientWidth) return;
    const { g, w, h } = sheet(this.canvas);
    g.textAlign = 'center';
    g.textBaseline = 'middle';
    g.font = '14px sans-serif';
    const shown = stem(this.calls.shown() || '');
    for (const p of this.data.points) {
      const k = this.data.genres.indexOf(p.genre);
      const [x, y] = this.held && this.held.point === p ? this.held.at : this.place(p);
      g.fillStyle = paint(k);
      g.fillText(mark(k), x, y);
      if (stem(p.song) === shown || p === this.over) {
        g.strokeStyle = colour(p === this.over ? '--accent' : '--ink');
        g.lineWidth = 2;
        g.beginPath();
        g.arc(x, y, 10, 0, 7);
        g.stroke();
      }
    }
    g.font = '12px sans-serif';
    g.fillStyle = colour('--soft');
    const axes = this.data.shares.length ? ['axis 1', 'axis 2'] : [];
    if (axes.length) {
      g.textAlign = 'right';
      g.fillText(`${axes[0]} →`, w - 6, h - 9);
      g.save();
      g.translate(w - 9, 6);
      g.rotate(Math.PI / 2);
      g.textAlign = 'left';
      g.fillText(`← ${axes[1]}`, 0, 0);
      g.restore();
    }
    g.textAlign = 'left';
    this.data.genres.forEach((genre, k) => {
      g.fillStyle = paint(k);
      g.fillText(mark(k), 8, 14 + 17 * k);
      g.fillStyle = colour('--ink');
      g.fillText(genre, 24, 14 + 17 * k);
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
    return far(best) < NEAR ? best : null;
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
    this.rest(this.near(at));
  }

  // The pointer is on a point, or on none.
  rest(point) {
    if (point === this.over) return;
    this.over = point;
    clearTimeout(this.timer);
    this.hush();
    this.draw();
    this.hover.textContent = point ? `${point.song}: ${point.genre}${point.split ? `, ${point.split}` : ''}` : ' ';
    const song = point && this.there.songs.find((s) => stem(s.name) === stem(point.song));
    if (point && !song) this.hover.textContent += ' (its song is not in this studio: music=)';
    if (song && this.plays.checked) this.timer = setTimeout(() => this.play(song), REST_MS);
  }

  play(song) {
    this.sound.src = `api/excerpt?song=${encodeURIComponent(song.path)}`;
    this.calls.audio().muted = true; // the dance goes on without its sound
    this.sound.play().catch(() => this.hush()); // before the first click of a page browsers let nothing sound
  }

  hush() {
    this.sound.pause();
    this.calls.audio().muted = false;
  }

  up(e) {
    if (!this.held) return;
    const { point, from } = this.held;
    const at = this.at(e);
    this.held = null;
    const [right, down] = [at[0] - from[0], at[1] - from[1]];
    if (Math.hypot(right, down) < 5) this.calls.pick(point.song);
    else if (this.movable) {
      const by = (pixels, size, axis, k) => ((pixels / (size - 2 * EDGE)) * this.span(axis)[1]) / this.data.deviations[k];
      this.calls.blend({ x: by(right, this.canvas.clientWidth, 'x', 0), y: by(-down, this.canvas.clientHeight, 'y', 1) });
    }
    this.draw();
  }
}

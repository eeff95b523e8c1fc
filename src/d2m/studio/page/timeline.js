// The song on a line: waveform, beats, segments, loop, playhead, and the curve of a strength.

import { colour } from './dom.js';

export const STEP = 0.25; // seconds between the points of a drawn curve
const [TOP, BOTTOM] = [0.16, 0.72]; // where a curve is drawn, from the top

// Strength at a time: linear between breakpoints, constant beyond them.
export function strengthAt(strength, t) {
  if (typeof strength === 'number') return strength;
  if (t <= strength[0][0]) return strength[0][1];
  for (let i = 1; i < strength.length; i += 1) {
    const [[t0, a], [t1, b]] = [strength[i - 1], strength[i]];
    if (t <= t1) return t1 === t0 ? b : a + ((b - a) * (t - t0)) / (t1 - t0);
  }
  return strength[strength.length - 1][1];
}

// A curve with what lies on the line between its neighbours left out.
export function simplify(points) {
  return points.filter((p, i) => {
    if (i === 0 || i === points.length - 1) return true;
    const [[t0, a], [t1, b]] = [points[i - 1], points[i + 1]];
    return Math.abs(a + ((b - a) * (p[0] - t0)) / (t1 - t0) - p[1]) > 1e-6;
  });
}

// A breakpoint at a time, in place of those within half a step.
export function withPoint(strength, t, value, seconds) {
  const old = typeof strength === 'number' ? [[0, strength], [seconds, strength]] : strength;
  const kept = old.filter(([s]) => Math.abs(s - t) > STEP / 2);
  return [...kept, [t, value]].sort((a, b) => a[0] - b[0]);
}

export class Timeline {
  // calls: seek(seconds), loop([from, to] or null), curve(points, live), if curves can be drawn. curve: {points, name, range} or null.
  constructor(canvas, calls) {
    Object.assign(this, { canvas, calls, dance: null, loop: null, curve: null });
    this.drawn = null;
    canvas.addEventListener('pointerdown', (e) => this.down(e));
    canvas.addEventListener('pointermove', (e) => {
      if (this.held) this.drag(e);
      else canvas.style.cursor = calls.curve && this.curve && this.height(e) > TOP && this.height(e) < BOTTOM ? 'crosshair' : 'ew-resize';
    });
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, (e) => this.up(e));
  }

  seconds(e) {
    const { left, width } = this.canvas.getBoundingClientRect();
    return Math.min(Math.max((e.clientX - left) / width, 0), 1) * this.dance.seconds;
  }

  // From the top, 0 to 1.
  height(e) {
    const { top, height } = this.canvas.getBoundingClientRect();
    return (e.clientY - top) / height;
  }

  value(e) {
    const [low, high] = this.curve.range;
    const share = Math.min(Math.max((this.height(e) - TOP) / (BOTTOM - TOP), 0), 1);
    return Math.round((high - share * (high - low)) * 100) / 100;
  }

  down(e) {
    if (!this.dance || e.button > 0) return;
    this.canvas.setPointerCapture(e.pointerId);
    this.held = { from: this.seconds(e), moved: false, last: null };
    // Between the beats a curve is drawn; on the beats the playhead is moved.
    if (this.calls.curve && this.curve && !e.shiftKey && this.height(e) > TOP && this.height(e) < BOTTOM) this.drawn = this.curve.points;
    this.drag(e, true);
  }

  drag(e, first = false) {
    const t = this.seconds(e);
    if (this.drawn !== null) {
      this.paint(t, this.value(e));
      this.calls.curve(this.drawn, true);
    } else if (e.shiftKey) {
      this.held.moved = true;
      const [a, b] = [Math.min(t, this.held.from), Math.max(t, this.held.from)];
      this.calls.loop(b - a > 0.2 ? [a, b] : null);
    } else if (first || !this.held.moved) {
      this.calls.seek(t);
    }
  }

  // The curve follows the pointer: every step between its last place and this one.
  paint(t, value) {
    const last = this.held.last || [t, value];
    const n = Math.max(1, Math.ceil(Math.abs(t - last[0]) / STEP));
    for (let k = 1; k <= n; k += 1) {
      const u = k / n;
      let at = Math.round((last[0] + u * (t - last[0])) / STEP) * STEP;
      if (at <= STEP) at = 0; // the ends are hard to hit
      if (at >= this.dance.seconds - STEP) at = this.dance.seconds;
      this.drawn = withPoint(this.drawn, at, last[1] + u * (value - last[1]), this.dance.seconds);
    }
    this.held.last = [t, value];
  }

  up(e) {
    if (!this.held) return;
    const { drawn } = this;
    this.held = null;
    this.drawn = null;
    if (drawn !== null) this.calls.curve(simplify(drawn.map(([t, v]) => [t, Math.round(v * 1000) / 1000])), false);
    if (this.canvas.hasPointerCapture(e.pointerId)) this.canvas.releasePointerCapture(e.pointerId);
  }

  // Minutes and seconds below the waveform.
  times(g, x, w, h, ratio) {
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300].find((s) => x(s) > 64 * ratio) || 600;
    g.font = `${11 * ratio}px sans-serif`;
    g.textAlign = 'center';
    g.textBaseline = 'bottom';
    for (let t = step; x(t) < w - 20 * ratio; t += step) {
      const text = `${Math.floor(t / 60)}:${String(t % 60).padStart(2, '0')}`;
      g.fillStyle = colour('--card');
      g.globalAlpha = 0.8;
      g.fillRect(x(t) - 15 * ratio, 0.87 * h - 13 * ratio, 30 * ratio, 13 * ratio);
      g.globalAlpha = 1;
      g.fillStyle = colour('--soft');
      g.fillText(text, x(t), 0.87 * h);
    }
  }

  draw(now) {
    const { canvas, dance } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const g = canvas.getContext('2d');
    g.fillStyle = colour('--card');
    g.fillRect(0, 0, w, h);
    if (!dance) return;
    const x = (t) => (t / dance.seconds) * w;
    if (this.loop) {
      g.fillStyle = colour('--loop');
      g.fillRect(x(this.loop[0]), 0, x(this.loop[1]) - x(this.loop[0]), h);
    }
    g.fillStyle = colour('--wave');
    const n = dance.peaks.length;
    for (let i = 0; i < n; i += 1) {
      const a = (dance.peaks[i] / 255) * 0.7 * h;
      g.fillRect((i / n) * w, (h - a) / 2, Math.max(1, w / n), Math.max(1, a));
    }
    const marks = (times, from, to, name) => {
      g.strokeStyle = colour(name);
      g.lineWidth = ratio;
      g.beginPath();
      for (const t of times) {
        g.moveTo(x(t), from);
        g.lineTo(x(t), to);
      }
      g.stroke();
    };
    marks(dance.music_beats, 0, 0.13 * h, '--accent');
    marks(dance.dance_beats, 0.87 * h, h, '--warn');
    marks(dance.edges.slice(1), 0.3 * h, 0.7 * h, '--line');
    this.times(g, x, w, h, ratio);
    if (this.curve) {
      const [low, high] = this.curve.range;
      const y = (v) => (TOP + ((high - v) / (high - low)) * (BOTTOM - TOP)) * h;
      const strength = this.drawn === null ? this.curve.points : this.drawn;
      g.lineWidth = ratio;
      g.textAlign = 'left';
      g.textBaseline = 'bottom';
      for (let v = Math.ceil(low); v <= high; v += 1) {
        g.strokeStyle = colour('--line');
        g.beginPath();
        g.moveTo(0, y(v));
        g.lineTo(w, y(v));
        g.stroke();
        const text = v ? `${v}` : `0 ${this.curve.name}`;
        g.fillStyle = colour('--card');
        g.globalAlpha = 0.8;
        g.fillRect(2 * ratio, y(v) - 13 * ratio, g.measureText(text).width + 4 * ratio, 13 * ratio);
        g.globalAlpha = 1;
        g.fillStyle = colour('--curve');
        g.fillText(text, 4 * ratio, y(v) - ratio);
      }
      g.strokeStyle = colour('--curve');
      g.lineWidth = 2 * ratio;
      g.beginPath();
      g.moveTo(0, y(strengthAt(strength, 0)));
      for (const [t, v] of typeof strength === 'number' ? [] : strength) g.lineTo(x(t), y(v));
      g.lineTo(w, y(strengthAt(strength, dance.seconds)));
      g.stroke();
    }
    g.fillStyle = colour('--ink');
    g.fillRect(x(now) - ratio, 0, 2 * ratio, h);
  }
}

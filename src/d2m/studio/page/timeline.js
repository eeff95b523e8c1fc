// The song on a line: waveform, beats, segments, loop, playhead, and the curve of a strength.

export const STEP = 0.25; // seconds between the points of a drawn curve

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
  // calls: seek(seconds), loop([from, to] or null), curve(points, live)
  constructor(canvas, calls) {
    Object.assign(this, { canvas, calls, dance: null, loop: null, curve: null, range: [-1, 2] });
    this.drawn = null;
    canvas.addEventListener('pointerdown', (e) => this.down(e));
    canvas.addEventListener('pointermove', (e) => this.held && this.drag(e));
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, (e) => this.up(e));
  }

  seconds(e) {
    const { left, width } = this.canvas.getBoundingClientRect();
    return Math.min(Math.max((e.clientX - left) / width, 0), 1) * this.dance.seconds;
  }

  value(e) {
    const { top, height } = this.canvas.getBoundingClientRect();
    const [low, high] = this.range;
    const share = Math.min(Math.max((e.clientY - top) / height, 0), 1);
    return Math.round((high - share * (high - low)) * 100) / 100;
  }

  down(e) {
    if (!this.dance || e.button > 0) return;
    this.canvas.setPointerCapture(e.pointerId);
    this.held = { from: this.seconds(e), moved: false, last: null };
    if (this.curve !== null && !e.shiftKey) this.drawn = this.curve;
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
      const at = Math.round((last[0] + u * (t - last[0])) / STEP) * STEP;
      this.drawn = withPoint(this.drawn, Math.min(at, this.dance.seconds), last[1] + u * (value - last[1]), this.dance.seconds);
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

  draw(now) {
    const { canvas, dance } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
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
    if (this.curve !== null) {
      const [low, high] = this.range;
      const y = (v) => ((high - v) / (high - low)) * h;
      const strength = this.drawn === null ? this.curve : this.drawn;
      g.strokeStyle = colour('--line');
      g.beginPath();
      g.moveTo(0, y(0));
      g.lineTo(w, y(0));
      g.stroke();
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

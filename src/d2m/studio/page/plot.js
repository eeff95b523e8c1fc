// Curves over one axis, with ticks.

import { colour, number, sheet } from './dom.js';
import { paint } from './palette.js';

const LEFT = 52;
const BELOW = 32;

function ticks(low, high, n) {
  const raw = (high - low) / n || 1;
  const ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find((k) => k * ten >= raw);
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((high - first) / step + 1e-6)) + 1 }, (_, i) => first + i * step);
}

// lines: one list of [x, y] per curve.
export function plot(canvas, lines, xLabel) {
  const { g, w, h } = sheet(canvas);
  const all = lines.flat();
  if (!all.length || !w) return;
  const range = (k) => [Math.min(...all.map((p) => p[k])), Math.max(...all.map((p) => p[k]))];
  const [[x0, x1], [y0, y1]] = [range(0), range(1)];
  const x = (v) => LEFT + ((v - x0) / Math.max(x1 - x0, 1e-9)) * (w - LEFT - 10);
  const y = (v) => h - BELOW - ((v - y0) / Math.max(y1 - y0, 1e-12)) * (h - BELOW - 10);
  g.font = '11px sans-serif';
  g.fillStyle = colour('--soft');
  g.strokeStyle = colour('--line');
  g.lineWidth = 0.5;
  g.textBaseline = 'middle';
  g.textAlign = 'right';
  g.beginPath();
  for (const v of ticks(y0, y1, 4)) {
    g.fillText(number(v), LEFT - 6, y(v));
    g.moveTo(LEFT, y(v));
    g.lineTo(w - 10, y(v));
  }
  g.stroke();
  g.textBaseline = 'top';
  g.textAlign = 'center';
  for (const v of ticks(x0, x1, 4)) g.fillText(number(v), x(v), h - BELOW + 4);
  g.fillText(xLabel, (LEFT + w - 10) / 2, h - 13);
  lines.forEach((points, k) => {
    g.strokeStyle = paint(k);
    g.lineWidth = 2;
    g.beginPath();
    points.forEach(([a, b], i) => (i ? g.lineTo(x(a), y(b)) : g.moveTo(x(a), y(b))));
    g.stroke();
  });
}

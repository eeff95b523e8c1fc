// Small helpers for the page's elements.

export const $ = (id) => document.getElementById(id);

export const element = (tag, properties = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
};

export const soft = (text) => element('p', { className: 'soft', textContent: text });

// Three or four digits that matter.
export const number = (v) => (typeof v === 'number' ? Number(v.toPrecision(4)).toString() : v === null || v === undefined ? '–' : String(v));

export const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, '0')}`;

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A canvas as many pixels large as it is shown, cleared; its context counts in CSS pixels.
export function sheet(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  Object.assign(canvas, { width: Math.round(w * ratio), height: Math.round(h * ratio) });
  const g = canvas.getContext('2d');
  g.scale(ratio, ratio);
  g.fillStyle = colour('--card');
  g.fillRect(0, 0, w, h);
  return { g, w, h };
}

// A region of its own scroll bars that the keyboard reaches.
export function scrolled(id, label) {
  const box = element('div', { id, className: 'wide', tabIndex: 0, ariaLabel: label });
  box.setAttribute('role', 'region');
  return box;
}

// A table of rows [name, [cell, ...], className]; cells are text, nodes or [text, className].
export function table(caption, heads, rows) {
  const t = element('table', { className: 'plain' });
  if (caption) t.append(element('caption', { textContent: caption }));
  const head = t.createTHead().insertRow();
  for (const name of heads) head.append(name ? element('th', { scope: 'col', textContent: name }) : element('td'));
  const body = t.createTBody();
  for (const [name, cells, className = ''] of rows) {
    const row = body.insertRow();
    row.className = className;
    row.append(element('th', { scope: 'row' }, name));
    for (const cell of cells) {
      const [content, kind] = Array.isArray(cell) ? cell : [cell, ''];
      const td = row.insertCell();
      td.className = kind;
      td.append(content);
      if (typeof content === 'string' && content.length > 24) td.title = content;
    }
  }
  return t;
}

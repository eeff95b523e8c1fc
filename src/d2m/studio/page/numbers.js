// Energy of every joint and genres by the judges, as bars with their numbers.

import { element as made } from './dom.js';

const element = (tag, className, text = '') => made(tag, { className, textContent: text });

function bar(value, most, className) {
  const track = element('span', 'track');
  const fill = element('span', `fill ${className}`);
  fill.style.width = `${Math.min(100, (100 * value) / Math.max(most, 1e-9))}%`;
  track.append(fill);
  return track;
}

function table(caption, versions, rows, digits, most) {
  const t = element('table', 'bars');
  t.append(element('caption', '', caption));
  const head = t.createTHead().insertRow();
  head.append(element('td', ''));
  for (const name of versions) {
    const th = element('th', '', name);
    th.scope = 'col';
    head.append(th);
  }
  const body = t.createTBody();
  for (const [name, values] of rows) {
    const row = body.insertRow();
    const th = element('th', '', name.replaceAll('_', ' '));
    th.scope = 'row';
    row.append(th);
    versions.forEach((version, k) => {
      const cell = row.insertCell();
      cell.append(bar(values[k], most, version), element('span', 'number', values[k].toFixed(digits)));
    });
  }
  return t;
}

export function showNumbers(root, dance) {
  root.replaceChildren();
  const shown = dance.versions.filter((v) => v !== 'neutral');
  if (Object.keys(dance.energy).length) {
    const rows = dance.joints.map((j, i) => [j, shown.map((v) => dance.energy[v][i])]);
    const most = Math.max(...rows.flatMap(([, v]) => v));
    root.append(table(`Energy per joint, ${dance.energy_unit}`, shown, rows, 3, most));
  }
  const heard = Object.entries(dance.music_style);
  if (heard.length) root.append(table('Genre of the music, as heard', ['probability'], heard.map(([g, p]) => [g, [p]]), 2, 1));
  if (Object.keys(dance.judged).length) {
    const genres = Object.keys(dance.judged.original);
    root.append(table('Genre of the dance, by the motion classifier', shown, genres.map((g) => [g, shown.map((v) => dance.judged[v][g])]), 2, 1));
  } else {
    root.append(element('p', 'soft', 'This bundle has no motion classifier (stage motion_style), so nobody judges its dances.'));
  }
}

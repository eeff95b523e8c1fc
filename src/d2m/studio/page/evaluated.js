// Tables of d2m evaluate, bundle beside bundle.

import { element, number, scrolled, soft, table } from './dom.js';

const ARROWS = { higher: '↑', lower: '↓', real: '≈ real' };
const known = (v) => typeof v === 'number';

// Whether the 95 % intervals of two figures do not meet.
const apart = (figures) => figures.some((a, i) => figures.slice(i + 1).some(
  (b) => known(a.low) && known(b.low) && (a.low > b.high || b.low > a.high),
));

const cell = (f) => {
  if (!f || !known(f.value)) return '–';
  const span = known(f.low) ? ` [${number(Number(f.low.toPrecision(2)))}, ${number(Number(f.high.toPrecision(2)))}]` : '';
  return number(Number(f.value.toPrecision(3))) + span;
};

export class Evaluated {
  // measured: what api/evaluations lists.
  constructor(root, measured) {
    Object.assign(this, { root, measured, shown: [] });
    this.card = element('select', { id: 'evaluated-card', ariaLabel: 'Protocol card' });
    const cards = [...new Set(measured.flatMap((m) => Object.keys(m.cards)))].sort((a, b) => (b === 'd2m') - (a === 'd2m'));
    this.card.append(...cards.map((c) => new Option(`card ${c}`, c)));
    this.card.addEventListener('change', () => this.draw());
    this.box = scrolled('evaluated', 'Evaluation');
    root.append(element('h2', { textContent: 'Evaluation' }));
    if (measured.length) root.append(this.card);
    root.append(this.box);
  }

  // names: digest of a bundle's weights -> what the page calls it.
  show(names) {
    this.shown = [...names].flatMap(([space, title]) => this.measured.filter((m) => m.space === space).map((m) => ({ ...m, title })));
    this.draw();
  }

  draw() {
    const { shown } = this;
    if (!shown.length) {
      this.box.replaceChildren(soft('Nothing measured of these bundles and runs. d2m evaluate bundle=RUN/bundle out=RUN/evaluation measures one; reports are found there, in evaluation beside RUN, and below runs=.'));
      return;
    }
    const card = this.card.value;
    const tables = shown.map((m) => m.cards[card] || {});
    const figures = [...new Set(tables.flatMap((t) => Object.keys(t)))];
    const chances = figures.some((f) => tables.some((t) => t[f] && known(t[f].chance)));
    const rows = figures.map((f) => {
      const of = tables.map((t) => t[f]);
      const any = of.find(Boolean);
      const cells = [cell({ value: any.real }), ...of.map(cell), ...(chances ? [cell({ value: any.chance })] : [])];
      const name = element('span', { title: any.unit, textContent: `${f.replaceAll('_', ' ')} ${ARROWS[any.better] || ''}` });
      return [name, cells, apart(of.filter(Boolean)) ? 'differs' : ''];
    });
    const about = (m) => `${m.songs} songs of ${(m.splits || []).join(' and ')}, ${m.draws} draw${m.draws === 1 ? '' : 's'} of each, seed ${m.seed}`;
    const alike = new Set(shown.map((m) => `${m.corpus} ${about(m)}`)).size === 1;
    const warning = element('p', { className: 'warn', textContent: `Not measured on the same songs, so do not compare them: ${shown.map((m) => `${m.title}, ${about(m)}`).join('; ')}.` });
    this.box.replaceChildren(
      ...(alike ? [] : [warning]),
      table('', ['figure', 'real dances', ...shown.map((m) => m.title), ...(chances ? ['chance'] : [])], rows),
      soft(`Value [95 % over songs]; ↑ higher is better, ↓ lower, ≈ real: the real dances’ is best. ${shown.length > 1 ? 'Marked: intervals that do not meet. ' : ''}`
        + `${alike ? `${about(shown[0])}.` : ''}`),
      ...shown.map((m) => soft(`${m.title}: ${m.report}`)),
    );
  }
}

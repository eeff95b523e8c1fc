// Which bundles dance beside the first: boxes in a menu.

import { $, element } from './dom.js';

// Beside the first one: more cannot be seen.
export const MOST_OTHERS = 3;

export class Comparison {
  // calls: there(), store(), changed()
  constructor(calls) {
    this.calls = calls;
    addEventListener('pointerdown', (e) => { if (!$('others').contains(e.target)) $('others').open = false; });
    $('others').addEventListener('keydown', (e) => {
      if (e.key !== 'Escape' || !$('others').open) return;
      $('others').open = false;
      $('others').querySelector('summary').focus();
    });
  }

  get bundles() {
    const { state, others } = this.calls.store();
    return this.calls.there().bundles.filter((b) => others.includes(b.path) && b.path !== state.bundle).slice(0, MOST_OTHERS);
  }

  // The menu for the state's bundle.
  list() {
    const { state } = this.calls.store();
    const chosen = this.bundles;
    const can = this.calls.there().bundles.filter((b) => b.path !== state.bundle);
    $('others').hidden = !can.length;
    $('others-said').textContent = chosen.length ? chosen.map((b) => b.name).join(', ') : 'nothing';
    const shown = [...$('others-list').querySelectorAll('input')].map((i) => i.value).join();
    if (shown !== can.map((b) => b.path).join()) {
      $('others-list').replaceChildren(...can.map((b) => {
        const box = element('input', { type: 'checkbox', value: b.path });
        box.addEventListener('change', () => this.choose(b.path, box.checked));
        return element('label', { className: 'check' }, box, ` ${b.name}`);
      }));
    }
    for (const box of $('others-list').querySelectorAll('input')) {
      box.checked = chosen.some((b) => b.path === box.value);
      box.disabled = !box.checked && chosen.length >= MOST_OTHERS;
    }
  }

  choose(path, on) {
    const { others } = this.calls.store();
    this.calls.store().compare(on ? [...others, path] : others.filter((o) => o !== path));
    this.list();
    this.calls.changed();
  }
}

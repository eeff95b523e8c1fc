// The tools at the side, one at a time.

import { $ } from './dom.js';

export class Tabs {
  // opened(id): of the panel that is shown now.
  constructor(opened) {
    Object.assign(this, { opened, tabs: [...document.querySelectorAll('[role="tab"]')] });
    this.tabs.forEach((tab, k) => {
      tab.addEventListener('click', () => this.open(k));
      tab.addEventListener('keydown', (e) => {
        const to = { ArrowRight: k + 1, ArrowLeft: k - 1, Home: 0, End: this.tabs.length - 1 }[e.key];
        if (to === undefined) return;
        e.preventDefault();
        e.stopPropagation();
        const next = (to + this.tabs.length) % this.tabs.length;
        this.open(next);
        this.tabs[next].focus();
      });
    });
  }

  open(k) {
    this.tabs.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(i === k));
      tab.tabIndex = i === k ? 0 : -1;
      $(tab.getAttribute('aria-controls')).hidden = i !== k;
    });
    const id = this.tabs[k].getAttribute('aria-controls');
    document.body.classList.toggle('wide-side', id === 'runs');
    this.opened(id);
  }
}

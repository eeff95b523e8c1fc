// Asks for the dances of a state: provisional while a slider moves, exact when it rests, then those of other bundles.

import { label, request } from './names.js';
import { ask, Refused } from './wire.js';
import { busy, complain } from './messages.js';

const REST_MS = 250;
const TAB = Math.random().toString(36).slice(2);

export { TAB };

// Whether a bundle can make an edit: files and latents are of one bundle's space.
export const makes = (bundle, edit) => !edit.file && !edit.latents && ['source', 'target'].every((k) => !edit[k] || bundle.means.includes(edit[k]));

export class Dances {
  // calls: state(), now() in seconds, bundle(path), others(): bundles to compare; came(first): a dance is there;
  // moved(): only poses changed
  constructor(calls) {
    Object.assign(this, { calls, shown: null, others: [], running: null, asking: false, again: false, timer: 0, exacts: 0, taken: 0 });
  }

  changed(moving) {
    clearTimeout(this.timer);
    if (!moving) {
      this.exact();
      return;
    }
    this.provisional();
    this.timer = setTimeout(() => this.exact(), REST_MS);
  }

  // One request at a time; the last one asked for comes next.
  async provisional() {
    if (!this.shown) return;
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    const { exacts } = this; // an exact dance that was asked for since is newer than this answer
    try {
      const asked = { state: this.calls.state(), tab: TAB, playhead: this.calls.now(), exact: false };
      await ask('api/dance', asked, (h, a) => exacts === this.exacts && this.take(h, a));
    } catch (e) {
      complain(e);
    }
    this.asking = false;
    if (this.again) {
      this.again = false;
      this.provisional();
    }
  }

  async exact() {
    if (this.running) this.running.abort();
    const mine = new AbortController();
    this.running = mine;
    this.exacts += 1;
    this.again = false; // the server ends a tab's older request for a newer one
    busy('dancing', null, true);
    try {
      const asked = { state: this.calls.state(), tab: TAB, playhead: this.shown ? this.calls.now() : null };
      const exacts = this.taken;
      await ask('api/dance', asked, (h, a) => this.running === mine && this.take(h, a), mine.signal);
      if (this.running === mine && this.taken > exacts) await this.compare(mine);
    } catch (e) {
      complain(e);
    }
    if (this.running !== mine) return;
    this.running = null;
    busy('');
    if (this.shown) this.calls.came(false);
  }

  cancel() {
    if (this.running) this.running.abort();
    this.running = null;
    busy('');
  }

  take(header, arrays) {
    if (header.kind === 'progress') busy(header.doing, header.share, true);
    else if (header.kind === 'provisional' && this.shown) this.takeSome(header, arrays);
    else if (header.kind === 'dance') this.takeAll(header, arrays);
  }

  takeSome(header, arrays) {
    const d = this.shown;
    const fresh = !d.poses.target;
    if (fresh) {
      Object.assign(d.poses, { neutral: d.poses.original, target: d.poses.original.slice() });
      Object.assign(d, { versions: ['original', 'neutral', 'target'], boxes: [d.boxes[0], d.boxes[0], d.boxes[0]] });
    }
    d.poses.target.set(arrays.target, 28 * header.first);
    d.exact = false;
    if (fresh) this.calls.came(false); else this.calls.moved();
  }

  takeAll(header, { peaks, ...poses }) {
    if (JSON.stringify(header.state.edits.map(request)) !== JSON.stringify(this.calls.state().edits.map(request))) return;
    this.taken += 1;
    const last = this.shown;
    this.shown = { ...header, poses, peaks, exact: true };
    this.calls.came(!last || last.state.song !== header.state.song || last.state.bundle !== header.state.bundle);
  }

  // The same song and noise by the other bundles, one after the other.
  async compare(mine) {
    const came = [];
    for (const bundle of this.calls.others()) {
      const asked = this.calls.state();
      const edits = asked.edits.filter((e) => makes(bundle, e));
      const state = { ...asked, bundle: bundle.path, edits };
      if (bundle.max_draws !== this.calls.bundle(asked.bundle).max_draws) state.draws = null;
      const left = asked.edits.filter((e) => !edits.includes(e));
      if (left.length) complain(new Refused(`${bundle.name} dances without ${left.map(label).join(', ')}: its genres or its latent space are others`));
      await ask('api/dance', { state, tab: `${TAB} ${bundle.path}`, compare: true }, (header, { peaks, ...poses }) => {
        if (this.running !== mine) return;
        if (header.kind === 'progress') busy(`${bundle.name}: ${header.doing}`, header.share, true);
        else if (header.kind === 'dance') came.push({ ...header, poses, peaks, exact: true });
      }, mine.signal);
      if (this.running !== mine) return;
    }
    this.others = came;
  }
}

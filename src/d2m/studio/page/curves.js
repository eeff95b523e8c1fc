// Strengths of the state's edits: numbers, and curves over the song's time.

import { request, same } from './names.js';
import { strengthAt, withPoint } from './timeline.js';
import { Refused } from './wire.js';

const AXIS_RANGE = [-3, 3];
const hundredths = (v) => Math.round(v * 100) / 100;
const isCurve = (edit) => Boolean(edit) && typeof edit.strength !== 'number';

export class Curves {
  // now: {store(), edits, player, seconds(), screen()}
  constructor(now) { this.now = now; }

  find(wanted) { return this.now.store().state.edits.find((e) => same(request(e), wanted)); }

  // The edit whose curve is on the timeline: the one chosen last, else the first that has a curve; or null.
  get shown() {
    const { edits } = this.now;
    const chosen = edits.curve && this.find(edits.curve);
    return (isCurve(chosen) && chosen) || this.now.store().state.edits.find(isCurve) || null;
  }

  // The curve was drawn.
  drawn(points, moving) { if (this.shown) this.set(request(this.shown), points, moving); }

  set(wanted, value, moving) {
    const { state } = this.now.store();
    const old = this.find(wanted);
    const edit = { ...wanted, strength: value };
    this.now.store().set({ edits: old ? state.edits.map((e) => (e === old ? edit : e)) : [...state.edits, edit] }, moving);
  }

  // A slider was moved: a number, or a breakpoint at the playhead.
  slide(wanted, value, moving) {
    const old = this.find(wanted);
    const { player, seconds } = this.now;
    this.set(wanted, isCurve(old) ? withPoint(old.strength, player.time, value, seconds()) : value, moving);
  }

  remove(wanted) {
    const { edits } = this.now;
    const old = this.find(wanted);
    if (edits.curve && same(edits.curve, wanted)) edits.curve = null;
    this.now.store().set({ edits: this.now.store().state.edits.filter((e) => e !== old) });
  }

  // Number to curve and back. A curve that is not on the timeline is put there first.
  toggle(wanted) {
    const { edits, player, seconds } = this.now;
    const old = this.find(wanted);
    if (isCurve(old) && this.shown === old) {
      edits.curve = null;
      this.set(wanted, hundredths(strengthAt(old.strength, player.time)), false);
      return;
    }
    edits.curve = wanted;
    const value = old ? old.strength : 0;
    if (isCurve(old)) this.now.screen().stale();
    else this.set(wanted, [[0, value], [seconds() || 1, value]], false);
  }

  // A schedule file onto the curve of the timeline, or onto the only edit.
  open(points, name) {
    const { edits } = this.now;
    const { state } = this.now.store();
    const good = points.length && points.every((p) => Array.isArray(p) && p.length === 2 && p.every(Number.isFinite));
    if (!good) throw new Refused(`${name}: a schedule is [[seconds, strength], ...]`);
    const wanted = this.shown ? request(this.shown) : state.edits.length === 1 ? request(state.edits[0]) : null;
    if (!wanted) throw new Refused(`${name}: a schedule; choose the edit that it is for with its ∿ first`);
    edits.curve = wanted;
    this.set(wanted, points, false);
  }

  // A breakpoint at the playhead.
  point() {
    const { player, seconds } = this.now;
    if (!this.shown) return;
    const { strength } = this.shown;
    this.set(request(this.shown), withPoint(strength, player.time, strengthAt(strength, player.time), seconds()), false);
  }

  // The dance moves along the first two axes of the map.
  blend({ x, y }, latents) {
    let list = this.now.store().state.edits;
    for (const [axis, by] of [[0, x], [1, y]]) {
      const wanted = { name: 'axes', axis, latents, rows: 'all' };
      const old = list.find((e) => same(request(e), wanted));
      const value = hundredths((old && !isCurve(old) ? old.strength : 0) + by);
      list = [...list.filter((e) => e !== old), { ...wanted, strength: Math.max(AXIS_RANGE[0], Math.min(AXIS_RANGE[1], value)) }];
    }
    this.now.store().set({ edits: list });
  }
}


// What is drawn, sixty times a second if something changed: dancers, timeline, clock.

import { $, clock } from './dom.js';
import { label } from './names.js';
import { Panel, draw, fit } from './stage.js';

// Panels of the shown dance and of those of other bundles: [{key, poses, box, dance, caption}, ...].
export function sources(dance, others, nameOf) {
  const of = (d, prefix, name) => d.versions.map((v, i) => ({
    key: `${prefix}${v}`, version: v, poses: d.poses[v], box: d.boxes[i], dance: d,
    caption: `${name}${v === 'target' ? d.state.edits.map(label).join(' + ') || v : v}`,
  }));
  if (!others.length) return of(dance, '', '');
  const all = [dance, ...others].map((d, k) => of(d, k ? `other${k > 1 ? k : ''}-` : '', `${nameOf(d.state.bundle)}: `));
  // Bundles from left to right; what they dance unedited above what they dance edited.
  return ['original', 'target'].flatMap((version) => all.flatMap((list) => list.filter((s) => s.version === version)));
}

export class Screen {
  // now: {player, timeline, look, dances, nameOf(bundle), curve(): what the timeline shows, turned(): after drawing}
  constructor(now) {
    Object.assign(this, { now, panels: [], list: [], drawn: null });
    this.turn = () => this.frame();
  }

  // Something else than the time changed.
  stale() { this.drawn = null; }

  // The panels that the dances need.
  stage() {
    const { dances, nameOf } = this.now;
    if (!dances.shown) return;
    this.list = sources(dances.shown, dances.others, nameOf);
    if (this.list.map((s) => s.key).join() !== this.panels.map((p) => p.name).join()) {
      $('panels').replaceChildren();
      this.panels = this.list.map((s) => new Panel($('panels'), s.key, s.caption));
      const columns = dances.others.length ? dances.others.length + 1 : this.list.length;
      $('panels').style.setProperty('--columns', columns);
      $('panels').style.setProperty('--rows', Math.ceil(this.list.length / columns));
    }
    this.list.forEach((s, i) => this.panels[i].say(s.caption));
    this.stale();
  }

  frame() {
    requestAnimationFrame(this.turn);
    const { player, timeline, look, dances } = this.now;
    player.turn();
    const dance = dances.shown;
    if (!dance || !this.panels.length) return;
    const t = player.time;
    const [{ canvas }] = this.panels;
    const place = `${t} ${innerWidth} ${innerHeight} ${canvas.clientWidth} ${canvas.clientHeight} ${look.onion} ${look.trails} ${look.dark}`;
    if (this.drawn === place) return;
    this.panels.forEach((p) => p.measure());
    if (!canvas.width) return;
    const torso = Math.max(...this.list.map((s) => s.dance.torso));
    const view = fit(this.list.map((s) => s.box), torso, canvas.width, canvas.height);
    this.list.forEach((s, i) => {
      draw(this.panels[i], s.poses, s.box, s.dance, view, t * s.dance.fps, look);
      this.panels[i].figure.className = s.version === 'target' && !s.dance.exact ? 'provisional' : '';
    });
    timeline.loop = player.loop;
    timeline.curve = this.now.curve();
    timeline.draw(t);
    $('draws-curve').hidden = !timeline.curve;
    const times = [['max', dance.seconds.toFixed(1)], ['now', t.toFixed(1)], ['text', clock(t)]];
    for (const [name, value] of times) $('timeline').setAttribute(`aria-value${name}`, value);
    $('time').textContent = `${clock(t)} / ${clock(dance.seconds)}`;
    $('play').textContent = player.playing ? 'Pause' : 'Play';
    $('play').setAttribute('aria-pressed', String(player.playing));
    this.now.turned();
    this.drawn = place;
  }
}

// Buttons of the dance: play, loop, seed, draws, looks; and whether they are pressed.

import { $ } from './dom.js';
import { complain } from './messages.js';

const LOOP_SECONDS = 8;
const pressed = (id, on) => $(id).setAttribute('aria-pressed', String(on));

export class Transport {
  // now: {store(), player, look, dances, bundle(): facts of the state's, changed(): what is on the screen is stale}
  constructor(now) {
    this.now = now;
    const on = (id, name, call) => $(id).addEventListener(name, call);
    on('seed', 'change', () => {
      const seed = Math.trunc(Number($('seed').value));
      if ($('seed').value !== '' && Number.isSafeInteger(seed)) this.reseed(seed); else this.show();
    });
    on('reseed', 'click', () => this.reseed());
    on('redraw', 'click', () => this.redraw());
    on('unpin', 'click', () => this.store.set({ draws: null }));
    on('warp', 'click', () => this.warp());
    on('play', 'click', () => this.play());
    on('back', 'click', () => now.player.step(-1));
    on('forward', 'click', () => now.player.step(1));
    on('speed', 'change', () => { now.player.speed = Number($('speed').value); });
    on('loop', 'click', () => this.loop());
    for (const what of ['onion', 'trails']) on(what, 'click', () => this.toggle(what));
    on('undo', 'click', () => this.store.undo());
    on('redo', 'click', () => this.store.redo());
  }

  get store() { return this.now.store(); }

  get seconds() { return this.now.dances.shown ? this.now.dances.shown.seconds : 0; }

  play() { this.now.player.toggle().catch(complain); }

  reseed(seed = this.store.state.seed + 1) { this.store.set({ seed, draws: null }); }

  warp() { this.store.set({ warp: !this.store.state.warp, draws: null }); }

  // Another draw for the segment at the playhead; all others are written down as they are.
  redraw() {
    const dance = this.now.dances.shown;
    if (!dance) return;
    const segment = dance.edges.findLastIndex((t) => t <= this.now.player.time + 1e-6);
    this.store.set({ draws: dance.draws.map((d, i) => (i === segment ? (d + 1) % this.now.bundle().max_draws : d)) });
  }

  toggle(what) {
    this.now.look[what] = !this.now.look[what];
    this.show();
  }

  setLoop(region) {
    this.now.player.loop = region;
    this.show();
  }

  loop() {
    const { player } = this.now;
    this.setLoop(player.loop ? null : [player.time, Math.min(player.time + LOOP_SECONDS, player.seconds)]);
  }

  faster(by) {
    const all = [...$('speed').options].map((o) => o.value);
    $('speed').value = all[Math.min(Math.max(all.indexOf($('speed').value) + by, 0), all.length - 1)];
    this.now.player.speed = Number($('speed').value);
  }

  // The playhead becomes the start (0) or the end (1) of the loop.
  loopEnd(k) {
    const region = [...(this.now.player.loop || [0, this.seconds])];
    region[k] = this.now.player.time;
    if (region[1] - region[0] > 0.2) this.setLoop(region);
  }

  show() {
    const { store, now } = this;
    const { dances, player, look } = now;
    if ($('bundle').value !== store.state.bundle) $('bundle').value = store.state.bundle;
    $('song').value = store.state.song;
    $('seed').value = store.state.seed;
    pressed('warp', store.state.warp);
    pressed('loop', Boolean(player.loop));
    pressed('onion', look.onion);
    pressed('trails', look.trails);
    $('undo').disabled = !store.past.length;
    $('redo').disabled = !store.future.length;
    $('unpin').disabled = !store.state.draws;
    $('redraw').disabled = !dances.shown || now.bundle().max_draws < 2;
    $('draws').textContent = dances.shown ? `draws ${dances.shown.draws.join(' ')}` : '';
    now.changed();
  }
}

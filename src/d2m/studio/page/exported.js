// One dance without a server: what `d2m studio export=DIR` writes. It is embedded in the page as #dance.

import { $, clock } from './dom.js';
import { label } from './names.js';
import { showNumbers } from './numbers.js';
import { Player } from './player.js';
import { Panel, draw, fit } from './stage.js';
import { Timeline } from './timeline.js';

const look = { onion: false, trails: false, dark: matchMedia('(prefers-color-scheme: dark)').matches };
const dance = JSON.parse($('dance').textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const poses = Object.fromEntries(dance.versions.map((v) => [v, new Float32Array(bytes(dance.data[v]).buffer)]));
dance.peaks = bytes(dance.data.peaks);

const player = new Player($('audio'));
player.load(dance.sound, dance.seconds);
const timeline = new Timeline($('timeline'), { seek: (t) => player.seek(t), loop: (region) => { player.loop = region; } });
const curved = dance.state.edits.find((e) => typeof e.strength !== 'number');
timeline.dance = dance;
if (curved) {
  const all = curved.strength.map(([, v]) => v);
  timeline.curve = { points: curved.strength, name: label(curved), range: [Math.min(-1, ...all), Math.max(2, ...all)] };
}
const caption = (v) => (v === 'target' ? dance.state.edits.map(label).join(' + ') || v : v);
const panels = dance.versions.map((v) => new Panel($('panels'), v, caption(v)));
$('panels').style.setProperty('--columns', panels.length);
$('title').textContent = document.title = dance.title;
$('state').textContent = JSON.stringify(dance.state);
showNumbers($('numbers'), dance);

const theme = () => {
  document.documentElement.dataset.theme = look.dark ? 'dark' : 'light';
  $('theme').textContent = look.dark ? 'Light' : 'Dark';
  $('theme').setAttribute('aria-label', `${look.dark ? 'Light' : 'Dark'} colours`);
};
const toggle = () => player.toggle().then(() => { $('message').hidden = true; }, (e) => {
  $('told').textContent = `the sound cannot be played: ${e.message}`;
  $('message').hidden = false;
});
theme();
$('theme').addEventListener('click', () => { look.dark = !look.dark; theme(); });
$('play').addEventListener('click', toggle);
$('back').addEventListener('click', () => player.step(-1));
$('forward').addEventListener('click', () => player.step(1));
$('speed').addEventListener('change', () => { player.speed = Number($('speed').value); });
for (const what of ['onion', 'trails']) {
  $(what).addEventListener('click', () => {
    look[what] = !look[what];
    $(what).setAttribute('aria-pressed', String(look[what]));
  });
}
const keys = {
  ' ': toggle, ArrowLeft: () => player.seek(player.time - 1), ArrowRight: () => player.seek(player.time + 1),
  ',': () => player.step(-1), '.': () => player.step(1), Home: () => player.seek(0),
};
addEventListener('keydown', (e) => {
  if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey || e.target.matches('select') || (e.key === ' ' && e.target.matches('button, summary'))) return;
  e.preventDefault();
  keys[e.key]();
});

function frame() {
  requestAnimationFrame(frame);
  player.turn();
  panels.forEach((p) => p.measure());
  const [{ canvas }] = panels;
  if (!canvas.width) return;
  const t = player.time;
  const view = fit(dance.boxes, dance.torso, canvas.width, canvas.height);
  panels.forEach((p, i) => draw(p, poses[p.name], dance.boxes[i], dance, view, t * dance.fps, look));
  timeline.loop = player.loop;
  timeline.draw(t);
  $('time').textContent = `${clock(t)} / ${clock(dance.seconds)}`;
  for (const [name, value] of [['max', dance.seconds], ['now', t]]) $('timeline').setAttribute(`aria-value${name}`, value.toFixed(1));
  $('play').textContent = player.playing ? 'Pause' : 'Play';
  $('play').setAttribute('aria-pressed', String(player.playing));
}
frame();

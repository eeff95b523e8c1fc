// The studio's page: what is on the screen follows from the state; requests go out when the state changes.

import { Comparison } from './compare.js';
import { Curves } from './curves.js';
import { Dances, makes } from './dances.js';
import { $, soft } from './dom.js';
import { Edits } from './edits.js';
import { keyboard } from './keys.js';
import { LatentMap } from './map.js';
import { busy, complain, note, quiet } from './messages.js';
import { showNumbers } from './numbers.js';
import { label, request } from './names.js';
import { Player } from './player.js';
import { Runs } from './runs.js';
import { Saving } from './saving.js';
import { Screen } from './screen.js';
import { Songs } from './songs.js';
import { Store, linked } from './store.js';
import { Tabs } from './tabs.js';
import { Timeline } from './timeline.js';
import { Transport } from './transport.js';
import { Refused, get, post } from './wire.js';

const look = { onion: false, trails: false, dark: matchMedia('(prefers-color-scheme: dark)').matches };
let there; // what the studio has
let store;
const bundleOf = (path) => there.bundles.find((b) => b.path === path);
const seconds = () => (dances.shown ? dances.shown.seconds : 0);

const player = new Player($('audio'), () => dances.shown && dances.exact());
const timeline = new Timeline($('timeline'), {
  seek: (t) => player.seek(t),
  loop: (region) => transport.setLoop(region),
  curve: (points, moving) => curves.drawn(points, moving),
});
const edits = new Edits($('edit'), {
  state: () => store.state,
  now: () => player.time,
  strength: (wanted, value, moving) => curves.slide(wanted, value, moving),
  remove: (wanted) => curves.remove(wanted),
  curve: (wanted) => curves.toggle(wanted),
  optimise: (wanted) => curves.set(wanted, 1, false),
});
const curves = new Curves({ store: () => store, edits, player, seconds, screen: () => screen });
const comparison = new Comparison({ there: () => there, store: () => store, changed: () => dances.exact() });
const dances = new Dances({
  state: () => store.state, now: () => player.time, bundle: bundleOf, others: () => comparison.bundles, came, moved: () => screen.stale(),
});
const screen = new Screen({
  player, timeline, look, dances,
  nameOf: (path) => bundleOf(path).name,
  curve: () => {
    const edit = curves.shown;
    return edit && { points: edit.strength, name: label(edit), range: edits.rangeOf(request(edit)) };
  },
  turned: () => { if (!dances.asking) edits.show(store.state); },
});
const transport = new Transport({
  store: () => store, player, look, dances, bundle: () => bundleOf(store.state.bundle), changed: () => screen.stale(),
});
const songs = new Songs({
  there: () => there,
  store: () => store,
  refreshed: (catalogue) => { there = { ...there, ...catalogue }; },
  open: (file) => saving.open(file).catch(complain),
});
const saving = new Saving({
  store: () => store,
  there: () => there,
  curve: (points, name) => curves.open(points, name),
  fitted: async (after) => {
    there = { ...there, ...await get('api/catalogue') };
    build();
    after();
  },
});
const map = new LatentMap($('map'), {
  pick: (name) => songs.pick(name), blend: (by) => curves.blend(by, there.latents), complain, audio: () => $('audio'), shown: () => store.state.song,
});
const runs = new Runs($('runs'), { complain });
const tabs = new Tabs((id) => {
  if (id === 'map') map.open(there).catch(complain);
  if (id === 'runs') runs.open(there).catch(complain);
});

const build = () => edits.build(there, bundleOf(store.state.bundle), store.state, dances.shown && dances.shown.music_style);

function controls() {
  transport.show();
  comparison.list();
  saving.show();
  edits.show(store.state);
}

// The state changed; `moving` while a slider is held.
function changed(moving) {
  quiet();
  controls();
  dances.changed(moving);
}

// A dance is there; `first`: of a song or bundle that was not on the screen.
function came(first) {
  const dance = dances.shown;
  player.load(dance.sound, dance.seconds);
  timeline.dance = dance;
  if (first) build();
  screen.stage();
  controls();
  map.draw();
  if (dance.exact) showNumbers($('numbers'), dance);
}

function pickBundle(path) {
  const bundle = bundleOf(path);
  const left = store.state.edits.filter((e) => !makes(bundle, e));
  store.set({ bundle: path, draws: null, edits: store.state.edits.filter((e) => makes(bundle, e)) });
  build();
  if (left.length) note(`${left.length} of the edits are of another bundle's genres or latents, and were left out; undo brings them back.`);
}

function theme() {
  document.documentElement.dataset.theme = look.dark ? 'dark' : 'light';
  $('theme').textContent = look.dark ? 'Light' : 'Dark';
  $('theme').setAttribute('aria-label', `${look.dark ? 'Light' : 'Dark'} colours`);
  screen.stale();
  map.draw();
  runs.draw();
}

// What a link or a file shows here, else null.
async function adopted(state) {
  try {
    const found = await post('api/state', { state });
    if (found.notes.length) note(`Opened; ${found.notes.join('; ')}.`);
    return found.state;
  } catch (e) {
    complain(e);
    return null;
  }
}

function wire() {
  $('bundle').addEventListener('change', () => pickBundle($('bundle').value));
  $('dismiss').addEventListener('click', quiet);
  $('theme').addEventListener('click', () => {
    look.dark = !look.dark;
    theme();
  });
  $('cancel').addEventListener('click', () => {
    dances.cancel();
    store.undo();
  });
  addEventListener('hashchange', async () => {
    const { state, others } = linked(location.hash);
    if (!state || JSON.stringify(state) === JSON.stringify(store.state)) return;
    const found = await adopted(state);
    if (others) store.compare(others);
    if (found) store.set(found);
  });
  keyboard({ player, store, transport, curves, tabs });
}

async function begin() {
  theme();
  there = await get('api/catalogue');
  $('bundle').replaceChildren(...there.bundles.map((b) => new Option(b.name, b.path)));
  songs.list();
  const { state, others } = linked(location.hash);
  const fresh = { format: 1, bundle: there.bundles[0].path, song: (there.songs[0] || { path: '' }).path, seed: 0, warp: true, style_mode: null, draws: null, edits: [] };
  store = new Store((state && await adopted(state)) || there.state || fresh, changed);
  if (Array.isArray(others)) store.compare(others);
  wire();
  requestAnimationFrame(screen.turn);
  controls();
  build();
  if (store.state.song) {
    dances.exact();
  } else {
    busy('');
    $('panels').replaceChildren(soft('No songs yet. Drop one here or choose Add song; or start d2m studio with music=FOLDER.'));
  }
}

begin().catch(complain);

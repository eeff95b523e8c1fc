// The studio's page: what is on the screen follows from the state; requests go out when the state changes.

import { Edits, label, request } from './edits.js';
import { showNumbers } from './numbers.js';
import { keyboard } from './keys.js';
import { Player } from './player.js';
import { Panel, draw, fit } from './stage.js';
import { Store, decode } from './store.js';
import { LatentMap, Runs } from './studies.js';
import { Timeline, strengthAt, withPoint } from './timeline.js';
import { Refused, ask, get, put } from './wire.js';

const $ = (id) => document.getElementById(id);
const TAB = Math.random().toString(36).slice(2);
const LOOK = { onion: false, trails: false, dark: matchMedia('(prefers-color-scheme: dark)').matches };

let there; // what the studio has
let store;
let dance = null; // of the first bundle
let other = null; // of the bundle that is compared, or null
let panels = [];
let drawn = null; // what the canvases show, so that nothing is drawn twice
let running = null; // AbortController of the exact dance
let live = { busy: false, again: false, timer: 0 };

const player = new Player($('audio'));
const timeline = new Timeline($('timeline'), {
  seek: (t) => player.seek(t),
  loop: (region) => setLoop(region),
  curve: (points, moving) => strength(edits.curve, points, moving),
});
const edits = new Edits($('edit'), {
  state: () => store.state,
  now: () => player.time,
  strength: (wanted, value, moving) => slide(wanted, value, moving),
  remove: (wanted) => remove(wanted),
  curve: (wanted, range) => toggleCurve(wanted, range),
  optimise: (wanted) => strength(wanted, 1, false),
});
const map = new LatentMap($('map'), { pick: pickSong, blend, complain });
const runs = new Runs($('runs'));

function complain(error) {
  if (error.name === 'AbortError') return;
  $('message').textContent = error.message;
  $('message').hidden = false;
  if (!(error instanceof Refused)) throw error;
}

const quiet = () => { $('message').hidden = true; };

function busy(doing, share = null, cancels = false) {
  $('doing').textContent = doing;
  $('share').hidden = !doing;
  if (share === null) $('share').removeAttribute('value'); else $('share').value = share;
  $('cancel').hidden = !(doing && cancels);
}

// -- edits ------------------------------------------------------------------------------------------------------

function strength(wanted, value, moving) {
  const old = edits.find(store.state, wanted);
  const edit = { ...wanted, strength: value };
  const list = old ? store.state.edits.map((e) => (e === old ? edit : e)) : [...store.state.edits, edit];
  store.set({ edits: list }, moving);
}

function slide(wanted, value, moving) {
  const old = edits.find(store.state, wanted);
  const curved = old && typeof old.strength !== 'number';
  strength(wanted, curved ? withPoint(old.strength, player.time, value, dance.seconds) : value, moving);
}

function remove(wanted) {
  const old = edits.find(store.state, wanted);
  if (edits.curve && old && JSON.stringify(edits.curve) === JSON.stringify(wanted)) edits.curve = null;
  store.set({ edits: store.state.edits.filter((e) => e !== old) });
}

function toggleCurve(wanted, range) {
  const old = edits.find(store.state, wanted);
  if (old && typeof old.strength !== 'number') {
    edits.curve = null;
    strength(wanted, Math.round(strengthAt(old.strength, player.time) * 100) / 100, false);
    return;
  }
  const value = old ? old.strength : 0;
  edits.curve = wanted;
  timeline.range = range;
  strength(wanted, [[0, value], [dance ? dance.seconds : 1, value]], false);
}

function blend({ x, y }) {
  let list = store.state.edits;
  for (const [axis, by] of [[0, x], [1, y]]) {
    const wanted = { name: 'axes', axis, latents: there.latents, rows: 'all' };
    const old = list.find((e) => JSON.stringify(request(e)) === JSON.stringify(wanted));
    const value = Math.round(100 * ((old && typeof old.strength === 'number' ? old.strength : 0) + by)) / 100;
    list = [...list.filter((e) => e !== old), { ...wanted, strength: Math.max(-3, Math.min(3, value)) }];
  }
  store.set({ edits: list });
}

const breakpoint = () => {
  const edit = edits.curve && edits.find(store.state, edits.curve);
  if (edit) strength(edits.curve, withPoint(edit.strength, player.time, strengthAt(edit.strength, player.time), dance.seconds), false);
};

// -- dances -----------------------------------------------------------------------------------------------------

function changed(moving) {
  quiet();
  controls();
  clearTimeout(live.timer);
  if (moving) {
    provisional();
    live.timer = setTimeout(exact, 250);
  } else {
    exact();
  }
}

// While a slider moves: what is at the playhead, one request at a time.
async function provisional() {
  if (!dance) return;
  if (live.busy) {
    live.again = true;
    return;
  }
  live.busy = true;
  try {
    await ask('api/dance', { state: store.state, tab: TAB, playhead: player.time, exact: false }, take);
  } catch (e) {
    complain(e);
  }
  live.busy = false;
  if (live.again) {
    live.again = false;
    provisional();
  }
}

function take(header, arrays) {
  if (header.kind === 'progress') {
    busy(header.doing, header.share, true);
  } else if (header.kind === 'provisional' && dance) {
    if (!dance.poses.target) {
      dance.poses.target = dance.poses.original.slice();
      dance.poses.neutral = dance.poses.original.slice();
      dance.versions = ['original', 'neutral', 'target'];
      dance.boxes = [dance.boxes[0], dance.boxes[0], dance.boxes[0]];
      stage();
    }
    dance.poses.target.set(arrays.target, 28 * header.first);
    dance.exact = false;
    drawn = null;
  } else if (header.kind === 'dance') {
    if (JSON.stringify(header.state.edits.map(request)) !== JSON.stringify(store.state.edits.map(request))) return;
    const { peaks, ...poses } = arrays;
    const first = !dance || dance.state.song !== header.state.song || dance.state.bundle !== header.state.bundle;
    dance = { ...header, poses, peaks, exact: true };
    player.load(header.sound, header.seconds);
    timeline.dance = dance;
    if (first) edits.build(there, bundleOf(store.state.bundle), store.state, dance.music_style);
    stage();
    controls();
    showNumbers($('numbers'), dance);
  }
}

async function exact() {
  if (running) running.abort();
  const mine = new AbortController();
  running = mine;
  const at = dance ? player.time : null;
  busy('dancing', null, true);
  try {
    await ask('api/dance', { state: store.state, tab: TAB, playhead: at }, (h, a) => running === mine && take(h, a), mine.signal);
    if (running === mine && $('other').value) await compare(mine);
    else if (running === mine) other = null;
  } catch (e) {
    complain(e);
  }
  if (running !== mine) return;
  running = null;
  busy('');
  stage();
}

async function compare(mine) {
  const of = bundleOf($('other').value);
  const known = store.state.edits.filter((e) => makes(of, e));
  const state = { ...store.state, bundle: of.path, edits: known };
  if (of.max_draws !== bundleOf(store.state.bundle).max_draws) state.draws = null;
  if (known.length < store.state.edits.length) complain(new Refused(`${of.name} does not know the genres or latents of every edit: it dances without those`));
  await ask('api/dance', { state, tab: `${TAB} other`, compare: true }, (header, arrays) => {
    if (running !== mine) return;
    if (header.kind === 'progress') busy(`${bundleOf(state.bundle).name}: ${header.doing}`, header.share, true);
    else if (header.kind === 'dance') {
      const { peaks, ...poses } = arrays;
      other = { ...header, poses, peaks };
    }
  }, mine.signal);
}

// -- the stage --------------------------------------------------------------------------------------------------

const bundleOf = (path) => there.bundles.find((b) => b.path === path);

function sources() {
  const list = [];
  const own = (d, prefix, name) => d.versions.forEach((v, i) => list.push({
    key: `${prefix}${v}`, poses: d.poses[v], box: d.boxes[i], dance: d,
    caption: `${name}${v === 'target' ? d.state.edits.map(label).join(' + ') || v : v}`,
  }));
  own(dance, '', other ? `${bundleOf(dance.state.bundle).name}: ` : '');
  if (other) own({ ...other, versions: other.versions.filter((v) => v !== 'neutral'), boxes: other.boxes.filter((_, i) => other.versions[i] !== 'neutral') }, 'other-', `${bundleOf(other.state.bundle).name}: `);
  return other ? list.filter((s) => s.key !== 'neutral') : list;
}

function stage() {
  if (!dance) return;
  const wanted = sources();
  if (wanted.map((s) => s.key).join() !== panels.map((p) => p.name).join()) {
    $('panels').replaceChildren();
    panels = wanted.map((s) => new Panel($('panels'), s.key, s.caption));
  }
  wanted.forEach((s, i) => panels[i].say(s.caption));
  drawn = null;
}

function frame() {
  requestAnimationFrame(frame);
  player.turn();
  if (!dance) return;
  const t = player.time;
  const place = `${t} ${innerWidth} ${innerHeight} ${LOOK.onion} ${LOOK.trails} ${LOOK.dark}`;
  if (drawn === place) return;
  const list = sources();
  panels.forEach((p) => p.measure());
  if (panels.length !== list.length || !panels[0].canvas.width) return;
  const view = fit(list.map((s) => s.box), Math.max(dance.torso, other ? other.torso : 0), panels[0].canvas.width, panels[0].canvas.height);
  list.forEach((s, i) => {
    draw(panels[i], s.poses, s.box, s.dance, view, t * s.dance.fps, LOOK);
    panels[i].figure.className = s.key === 'target' && !dance.exact ? 'provisional' : '';
  });
  timeline.loop = player.loop;
  const curved = edits.curve && edits.find(store.state, edits.curve);
  timeline.curve = curved && typeof curved.strength !== 'number' ? curved.strength : null;
  timeline.draw(t);
  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, '0')}`;
  $('time').textContent = `${clock(t)} / ${clock(dance.seconds)}`;
  $('timeline').setAttribute('aria-valuemax', dance.seconds.toFixed(1));
  $('timeline').setAttribute('aria-valuenow', t.toFixed(1));
  $('timeline').setAttribute('aria-valuetext', clock(t));
  $('play').textContent = player.playing ? 'Pause' : 'Play';
  $('play').setAttribute('aria-pressed', String(player.playing));
  if (!live.busy) edits.show(store.state);
  drawn = place;
}

// -- controls ---------------------------------------------------------------------------------------------------

const pressed = (id, on) => $(id).setAttribute('aria-pressed', String(on));

function controls() {
  const { state } = store;
  if ($('bundle').value !== state.bundle) $('bundle').value = state.bundle;
  $('song').value = state.song;
  $('seed').value = state.seed;
  pressed('warp', state.warp);
  pressed('loop', Boolean(player.loop));
  pressed('onion', LOOK.onion);
  pressed('trails', LOOK.trails);
  $('undo').disabled = !store.past.length;
  $('redo').disabled = !store.future.length;
  $('unpin').disabled = !state.draws;
  $('command').textContent = `d2m infer state=${there.out}/state.json out=dances`;
  $('draws').textContent = dance ? `draws ${dance.draws.join(' ')}` : '';
  edits.show(state);
  drawn = null;
}

function setLoop(region) {
  player.loop = region;
  if (dance) controls();
}

const toggle = (what) => {
  LOOK[what] = !LOOK[what];
  controls();
};

const warp = () => store.set({ warp: !store.state.warp, draws: null });

const reseed = (seed = store.state.seed + 1) => store.set({ seed, draws: null });

function redraw() {
  if (!dance) return;
  const of = bundleOf(store.state.bundle);
  const s = dance.edges.findLastIndex((t) => t <= player.time + 1e-6);
  const draws = dance.draws.map((d, i) => (i === s ? (d + 1) % of.max_draws : d));
  store.set({ draws });
}

// Whether a bundle can make an edit: files and latents are of one bundle's space.
const makes = (bundle, edit) => !edit.file && !edit.latents && ['source', 'target'].every((k) => bundle.means.includes(edit[k]));

function pickBundle(bundle) {
  store.set({ bundle, draws: null, edits: store.state.edits.filter((e) => makes(bundleOf(bundle), e)) });
  edits.build(there, bundleOf(bundle), store.state, dance && dance.music_style);
}

function pickSong(name) {
  const found = there.songs.find((s) => s.path === name || s.name === name || s.name.replace(/\.[^.]*$/, '') === name.split('/').pop().replace(/\.[^.]*$/, ''));
  if (!found) {
    complain(new Refused(`${name}: not among this studio's songs; start it with music=...`));
    return;
  }
  if (found.path !== store.state.song) store.set({ song: found.path, draws: null });
}

async function addSong(file) {
  if (!file) return;
  quiet();
  busy(`reading ${file.name}`);
  try {
    const added = await put(`api/songs/${encodeURIComponent(file.name)}`, file);
    there = { ...there, ...await get('api/catalogue') };
    songs();
    store.set({ song: added.path, draws: null });
  } catch (e) {
    busy('');
    complain(e);
  }
}

function songs() {
  $('song').replaceChildren(...there.songs.map((s) => new Option(s.name, s.path)));
}

async function save(video) {
  quiet();
  busy('saving');
  try {
    await ask('api/save', { state: store.state, tab: TAB, video }, (header) => {
      if (header.kind === 'progress') busy(header.doing, header.share);
      if (header.kind !== 'saved') return;
      $('files').replaceChildren(...header.files.map((f) => {
        const item = document.createElement('li');
        item.append(Object.assign(document.createElement('a'), { href: f, textContent: f.split('/').slice(1).join('/'), download: f.split('/').pop() }));
        return item;
      }));
      const last = header.files.find((f) => f.endsWith('state.json'));
      $('command').textContent = `d2m infer state=${header.folder.replace(/saved$/, '')}${last} out=dances`;
    });
  } catch (e) {
    complain(e);
  }
  busy('');
}

function wire() {
  const on = (id, name, call) => $(id).addEventListener(name, call);
  on('bundle', 'change', () => pickBundle($('bundle').value));
  on('other', 'change', () => exact());
  on('song', 'change', () => pickSong($('song').value));
  on('add', 'change', () => addSong($('add').files[0]));
  on('seed', 'change', () => {
    const seed = Math.trunc(Number($('seed').value));
    if (Number.isSafeInteger(seed)) reseed(seed); else controls();
  });
  on('reseed', 'click', () => reseed());
  on('redraw', 'click', redraw);
  on('unpin', 'click', () => store.set({ draws: null }));
  on('warp', 'click', warp);
  on('play', 'click', () => player.toggle().catch(complain));
  on('back', 'click', () => player.step(-1));
  on('forward', 'click', () => player.step(1));
  on('speed', 'change', () => { player.speed = Number($('speed').value); });
  on('loop', 'click', () => setLoop(player.loop ? null : [player.time, Math.min(player.time + 8, player.seconds)]));
  for (const what of ['onion', 'trails']) on(what, 'click', () => toggle(what));
  on('undo', 'click', () => store.undo());
  on('redo', 'click', () => store.redo());
  on('cancel', 'click', () => {
    if (running) running.abort();
    running = null;
    busy('');
    store.undo();
  });
  on('theme', 'click', () => {
    LOOK.dark = !LOOK.dark;
    theme();
  });
  on('save', 'click', () => save(false));
  on('film', 'click', () => save(true));
  on('state', 'click', () => {
    const url = URL.createObjectURL(new Blob([`${JSON.stringify(store.state, null, 2)}\n`], { type: 'application/json' }));
    Object.assign(document.createElement('a'), { href: url, download: 'state.json' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  on('link', 'click', async () => {
    await navigator.clipboard.writeText(store.link).catch(() => prompt('The link:', store.link));
  });
  let inside = 0;
  addEventListener('dragenter', (e) => { e.preventDefault(); inside += 1; $('drop').hidden = false; });
  addEventListener('dragover', (e) => e.preventDefault());
  addEventListener('dragleave', () => { inside -= 1; if (inside <= 0) $('drop').hidden = true; });
  addEventListener('drop', (e) => {
    e.preventDefault();
    inside = 0;
    $('drop').hidden = true;
    addSong(e.dataTransfer.files[0]);
  });
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  tabs.forEach((tab, k) => {
    tab.addEventListener('click', () => openTab(k));
    tab.addEventListener('keydown', (e) => {
      const to = { ArrowRight: k + 1, ArrowLeft: k - 1 }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      e.stopPropagation();
      openTab((to + tabs.length) % tabs.length);
      tabs[(to + tabs.length) % tabs.length].focus();
    });
  });
  keyboard({ player, store, toggle, warp, reseed, redraw, breakpoint, setLoop, openTab, complain, speed: $('speed'), seconds: () => (dance ? dance.seconds : 0) });
}

function openTab(k) {
  [...document.querySelectorAll('[role="tab"]')].forEach((tab, i) => {
    tab.setAttribute('aria-selected', String(i === k));
    tab.tabIndex = i === k ? 0 : -1;
    $(tab.getAttribute('aria-controls')).hidden = i !== k;
  });
  if (k === 2) map.open(there).catch(complain);
  if (k === 3) runs.open(there).catch(complain);
}

function theme() {
  document.documentElement.dataset.theme = LOOK.dark ? 'dark' : 'light';
  drawn = null;
  map.draw();
}

async function begin() {
  theme();
  there = await get('api/catalogue');
  $('bundle').replaceChildren(...there.bundles.map((b) => new Option(b.name, b.path)));
  $('other').replaceChildren(new Option('nothing', ''), ...there.bundles.map((b) => new Option(b.name, b.path)));
  songs();
  const linked = decode(location.hash.slice(1));
  const fresh = { format: 1, bundle: there.bundles[0].path, song: (there.songs[0] || { path: '' }).path, seed: 0, warp: true, style_mode: null, draws: null, edits: [] };
  store = new Store(linked || there.state || fresh, changed);
  wire();
  requestAnimationFrame(frame);
  if (!store.state.song) {
    complain(new Refused('no songs: drop one here, or start with music=FOLDER'));
    return;
  }
  if (!bundleOf(store.state.bundle)) {
    complain(new Refused(`the link shows ${store.state.bundle}, which this studio was not started with`));
    store.set(fresh);
    return;
  }
  controls();
  exact();
}

addEventListener('hashchange', () => {
  const linked = decode(location.hash.slice(1));
  if (linked && store && JSON.stringify(linked) !== JSON.stringify(store.state)) store.set(linked);
});
begin().catch(complain);

// Everything by keyboard; ? shows the list.

import { $, element, table } from './dom.js';

const HELP = [
  ['Space', 'play, pause'], ['← →', 'one second back, on'], [', .', 'one frame back, on'], ['Home', 'start of the song'],
  ['L', 'loop on, off'], ['[ ]', 'the playhead is the start, the end of the loop'], ['- +', 'slower, faster'],
  ['O', 'onion skin: the frames around'], ['T', 'trails of hands and feet'], ['W', 'dance beats on the music’s'],
  ['S', 'new dance: next seed'], ['R', 'redraw the segment at the playhead'], ['K', 'breakpoint of the curve at the playhead'],
  ['Ctrl+Z', 'undo'], ['Ctrl+Shift+Z', 'redo'], ['1 to 5', 'Edit, Numbers, Map, Compare, Save'], ['?', 'this list'],
];

function help() {
  const keys = HELP.map(([keys, what]) => [element('kbd', { textContent: keys }), [what]]);
  $('keys-list').replaceChildren(table('', ['Key', 'What it does'], keys));
  $('keys').showModal();
}

export function keyboard({ player, store, transport, curves, tabs }) {
  const keys = {
    ' ': () => transport.play(),
    ArrowLeft: () => player.seek(player.time - 1),
    ArrowRight: () => player.seek(player.time + 1),
    ',': () => player.step(-1),
    '.': () => player.step(1),
    Home: () => player.seek(0),
    '[': () => transport.loopEnd(0),
    ']': () => transport.loopEnd(1),
    '-': () => transport.faster(-1),
    '+': () => transport.faster(1),
    l: () => transport.loop(),
    o: () => transport.toggle('onion'),
    t: () => transport.toggle('trails'),
    w: () => transport.warp(),
    s: () => transport.reseed(),
    r: () => transport.redraw(),
    k: () => curves.point(),
    '?': help,
  };
  $('help').addEventListener('click', help);
  $('keys-close').addEventListener('click', () => $('keys').close());
  addEventListener('keydown', (e) => {
    const on = e.target;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if ($('keys').open || on.closest('details.menu')) return;
    if ((e.ctrlKey || e.metaKey) && key === 'z') {
      e.preventDefault();
      if (e.shiftKey) store.redo(); else store.undo();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    // Keys that a control of the page takes itself stay its own.
    if (on.matches('input:not([type="range"], [type="checkbox"]), select, textarea')) return;
    if (on.matches('input[type="range"]') && /^(Arrow|Home)/.test(key)) return;
    if (on.matches('button, summary, a, input[type="checkbox"]') && key === ' ') return;
    if (/^[1-5]$/.test(key)) tabs.open(Number(key) - 1);
    else if (keys[key]) keys[key]();
    else return;
    e.preventDefault();
  });
}

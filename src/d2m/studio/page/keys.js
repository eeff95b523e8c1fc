// Everything by keyboard.

const SPEEDS = (select) => [...select.options].map((o) => o.value);

export function keyboard(c) {
  const faster = (by) => {
    const all = SPEEDS(c.speed);
    c.speed.value = all[Math.min(Math.max(all.indexOf(c.speed.value) + by, 0), all.length - 1)];
    c.speed.dispatchEvent(new Event('change'));
  };
  const end = (k) => {
    const t = c.player.time;
    const region = c.player.loop || [0, c.seconds()];
    const next = k ? [region[0], t] : [t, region[1]];
    if (next[1] - next[0] > 0.2) c.setLoop(next);
  };
  const keys = {
    ' ': () => c.player.toggle().catch(c.complain),
    ArrowLeft: () => c.player.seek(c.player.time - 1),
    ArrowRight: () => c.player.seek(c.player.time + 1),
    ',': () => c.player.step(-1),
    '.': () => c.player.step(1),
    Home: () => c.player.seek(0),
    '[': () => end(0),
    ']': () => end(1),
    '-': () => faster(-1),
    '+': () => faster(1),
    l: () => c.setLoop(c.player.loop ? null : [c.player.time, Math.min(c.player.time + 8, c.seconds())]),
    o: () => c.toggle('onion'),
    t: () => c.toggle('trails'),
    w: () => c.warp(),
    s: () => c.reseed(),
    r: () => c.redraw(),
    k: () => c.breakpoint(),
  };
  addEventListener('keydown', (e) => {
    const on = e.target;
    const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if ((e.ctrlKey || e.metaKey) && key === 'z') {
      e.preventDefault();
      if (e.shiftKey) c.store.redo(); else c.store.undo();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    // Keys that a control of the page takes itself stay its own.
    if (on.matches('input:not([type="range"]), select, textarea')) return;
    if (on.matches('input[type="range"]') && /^(Arrow|Home)/.test(key)) return;
    if (on.matches('button, summary, a') && key === ' ') return;
    if (/^[1-4]$/.test(key)) c.openTab(Number(key) - 1);
    else if (keys[key]) keys[key]();
    else return;
    e.preventDefault();
  });
}

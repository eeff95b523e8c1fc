// The state on the screen, its history, and its place in the address.

const LONGEST = 100;

export const encode = (state) => {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  let text = '';
  for (const b of bytes) text += String.fromCharCode(b);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

export const decode = (text) => {
  try {
    const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(plain, (c) => c.charCodeAt(0))));
  } catch {
    return null;
  }
};

export class Store {
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.past = [];
    this.future = [];
    this.committed = JSON.stringify(state);
    this.remember();
  }

  remember() {
    history.replaceState(null, '', `#${encode(this.state)}`);
  }

  // `live` while a slider moves: nothing to undo yet.
  set(part, live = false) {
    this.state = { ...this.state, ...part };
    if (!live) this.commit();
    this.changed(live);
  }

  commit() {
    const now = JSON.stringify(this.state);
    if (now === this.committed) return;
    this.past.push(this.committed);
    if (this.past.length > LONGEST) this.past.shift();
    this.future = [];
    this.committed = now;
    this.remember();
  }

  move(from, to) {
    if (!from.length) return;
    to.push(this.committed);
    this.committed = from.pop();
    this.state = JSON.parse(this.committed);
    this.remember();
    this.changed(false);
  }

  undo() { this.move(this.past, this.future); }

  redo() { this.move(this.future, this.past); }

  get link() { return location.href; }
}

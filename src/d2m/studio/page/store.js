// The state on the screen, its history, and its place in the address: #STATE, or #STATE&with=BUNDLES if some are compared.

const LONGEST = 100;

export const encode = (value) => {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

function decode(text) {
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

// {state, others} of an address; nulls if it has none.
export function linked(hash) {
  const [state, others] = hash.replace(/^#/, '').split('&with=');
  return { state: state ? decode(state) : null, others: others ? decode(others) : null };
}

export class Store {
  // changed(live): called after every change.
  constructor(state, changed) {
    Object.assign(this, { state, changed, others: [], past: [], future: [], committed: JSON.stringify(state) });
    this.remember();
  }

  remember() {
    const more = this.others.length ? `&with=${encode(this.others)}` : '';
    history.replaceState(null, '', `#${encode(this.state)}${more}`);
  }

  // Bundles that are compared: part of the link, not of the state.
  compare(others) {
    this.others = others;
    this.remember();
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

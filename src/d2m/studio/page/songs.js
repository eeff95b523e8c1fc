// The songs: chosen from the list, added, or dropped; a dropped JSON file is a state or a schedule.

import { $ } from './dom.js';
import { busy, complain, quiet } from './messages.js';
import { Refused, get, put } from './wire.js';

const stem = (name) => name.split('/').pop().replace(/\.[^.]*$/, '');

export class Songs {
  // calls: there(), refreshed(catalogue), store(), open(file)
  constructor(calls) {
    this.calls = calls;
    $('song').addEventListener('change', () => this.pick($('song').value));
    $('add').addEventListener('change', () => {
      this.add($('add').files[0]);
      $('add').value = '';
    });
    let inside = 0;
    const over = (on) => { $('drop').hidden = !on; };
    addEventListener('dragenter', (e) => { e.preventDefault(); inside += 1; over(true); });
    addEventListener('dragover', (e) => e.preventDefault());
    addEventListener('dragleave', () => { inside -= 1; if (inside <= 0) over(false); });
    addEventListener('drop', (e) => {
      e.preventDefault();
      inside = 0;
      over(false);
      const [file] = e.dataTransfer.files;
      if (file && file.name.endsWith('.json')) this.calls.open(file);
      else this.add(file);
    });
  }

  list() {
    $('song').replaceChildren(...this.calls.there().songs.map((s) => new Option(s.name, s.path)));
  }

  // A path or a name, with or without suffix.
  pick(name) {
    const { songs } = this.calls.there();
    const found = songs.find((s) => s.path === name) || songs.find((s) => s.name === name) || songs.find((s) => stem(s.name) === stem(name));
    if (!found) complain(new Refused(`${name}: not among this studio's songs; start it with music=..., or drop the song here`));
    else if (found.path !== this.calls.store().state.song) this.calls.store().set({ song: found.path, draws: null });
  }

  async add(file) {
    if (!file) return;
    quiet();
    busy(`reading ${file.name}`);
    try {
      const added = await put(`api/songs/${encodeURIComponent(file.name)}`, file);
      this.calls.refreshed(await get('api/catalogue'));
      this.list();
      this.calls.store().set({ song: added.path, draws: null });
    } catch (e) {
      busy('');
      complain(e);
    }
  }
}

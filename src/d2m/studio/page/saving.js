// Takes dances away: files as d2m infer writes them, the state, directions and schedules, links; and opens states again.

import { $, element } from './dom.js';
import { label } from './names.js';
import { ask, post, Refused } from './wire.js';
import { busy, complain, note, quiet } from './messages.js';
import { TAB } from './dances.js';

function download(name, text) {
  const url = URL.createObjectURL(new Blob([`${text}\n`], { type: 'application/json' }));
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const quoted = (path) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

export class Saving {
  // calls: store(), there(), fitted(): a direction was saved, curve(points): a schedule was opened
  constructor(calls) {
    this.calls = calls;
    const on = (id, call) => $(id).addEventListener('click', () => call().catch(complain));
    on('save', () => this.save());
    on('save-state', async () => download('state.json', JSON.stringify(this.calls.store().state, null, 2)));
    on('link', () => this.copy());
    $('open').addEventListener('change', () => {
      this.open($('open').files[0]).catch(complain);
      $('open').value = '';
    });
  }

  // The command that makes what is on the screen, and what each of its edits can be saved as.
  show() {
    const { state } = this.calls.store();
    this.command(`d2m infer state=${quoted(`${this.calls.there().out}/state.json`)} out=dances`);
    $('parts').replaceChildren(...state.edits.map((edit, index) => this.part(edit, index)));
    $('parts-of').hidden = !state.edits.length;
  }

  command(text, of = 'The same files, from a terminal:') {
    $('command').textContent = text;
    $('command-of').textContent = of;
  }

  part(edit, index) {
    const name = label(edit);
    const button = (text, title, call) => {
      const b = element('button', { type: 'button', textContent: text, title, ariaLabel: `${text} of ${name}` });
      b.addEventListener('click', () => call().catch(complain));
      return b;
    };
    const row = element('li', {}, element('span', { textContent: name }));
    if (edit.name !== 'optimise' && !edit.file) row.append(button('Direction', 'Save as a folder for edit.file=', () => this.direction(index)));
    if (typeof edit.strength !== 'number') row.append(button('Schedule', 'Save the curve for edit.schedule=', async () => this.schedule(edit)));
    return row;
  }

  async save() {
    quiet();
    busy('saving');
    const suffix = $('format').value;
    try {
      await ask('api/save', { state: this.calls.store().state, tab: TAB, also: suffix ? [suffix] : [] }, (header) => {
        if (header.kind === 'progress') busy(header.doing, header.share);
        if (header.kind === 'saved') this.saved(header);
      });
    } finally {
      busy('');
    }
  }

  saved({ files, folder }) {
    $('files').replaceChildren(...files.map((f) => element('li', {}, element('a', {
      href: f.split('/').map(encodeURIComponent).join('/'), textContent: f.split('/').slice(2).join('/'), download: f.split('/').pop(),
    }))));
    const state = files.find((f) => f.endsWith('/state.json'));
    this.command(`d2m infer state=${quoted(`${folder.replace(/saved$/, '')}${state}`)} out=dances`);
  }

  async direction(index) {
    quiet();
    await ask('api/direction', { state: this.calls.store().state, tab: TAB, index }, (header) => {
      if (header.kind !== 'saved') return;
      note(`Saved ${header.folder}; it is among the directions now.`);
      this.calls.fitted(() => this.command(`${this.of()} edit.file=${quoted(header.folder)} out=dances`, 'A dance along this direction, from a terminal:'));
    });
  }

  // The part of a command that names bundle and song.
  of() {
    const { bundle, song } = this.calls.store().state;
    return `d2m infer bundle=${quoted(bundle)} music=${quoted(song)}`;
  }

  schedule(edit) {
    download('schedule.json', JSON.stringify(edit.strength)); // on one line, for the command
    const plain = edit.file ? `edit.file=${quoted(edit.file)}`
      : Object.entries(edit).filter(([k, v]) => k !== 'strength' && v !== null)
        .map(([k, v]) => (k === 'name' ? `edit=${v}` : `edit.${k}=${quoted(String(v))}`)).join(' ');
    this.command(`${this.of()} ${plain} edit.schedule="$(cat schedule.json)" out=dances`, 'This edit along its curve, from a terminal, beside the downloaded file:');
  }

  async copy() {
    const { link } = this.calls.store();
    try {
      await navigator.clipboard.writeText(link);
      note('The link is on the clipboard.');
    } catch {
      prompt('The link:', link);
    }
  }

  // A state file, or a schedule file: a list of [seconds, strength].
  async open(file) {
    quiet();
    let value;
    try {
      value = JSON.parse(await file.text());
    } catch {
      throw new Refused(`${file.name}: not JSON; open a state or a schedule that was saved here`);
    }
    if (Array.isArray(value)) this.calls.curve(value, file.name);
    else await this.adopt(value);
  }

  async adopt(value) {
    const { state, notes } = await post('api/state', { state: value });
    this.calls.store().set(state);
    if (notes.length) note(`Opened; ${notes.join('; ')}.`);
  }
}

// What the page says: errors and notes that stay until they are closed, and what it is busy with.

import { $ } from './dom.js';
import { Refused } from './wire.js';

function say(text, kind) {
  $('told').textContent = text;
  $('message').className = kind;
  $('message').hidden = false;
}

// An error of use is shown; any other is shown and thrown on.
export function complain(error) {
  if (error.name === 'AbortError') return;
  say(error.message, 'error');
  if (!(error instanceof Refused)) throw error;
}

export const note = (text) => say(text, 'note');

export const quiet = () => { $('message').hidden = true; };

// share: 0 to 1, or null if it is not known.
export function busy(doing, share = null, cancels = false) {
  $('doing').textContent = doing;
  $('share').hidden = !doing;
  if (share === null) $('share').removeAttribute('value'); else $('share').value = share;
  $('cancel').hidden = !(doing && cancels);
}

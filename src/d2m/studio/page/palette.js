// Colours and marks of genres and runs: three to one or better on the page's cards.

const LIGHT = ['#0072b2', '#c04e00', '#007a5a', '#b0538f', '#8f6a00', '#5d4bb5', '#555555', '#c02040', '#3a7a3a', '#2a7f8f'];
const DARK = ['#56b4e9', '#ff9d5c', '#3fc79a', '#e6a3cb', '#e0bf4a', '#b3a4ff', '#b5bcc6', '#ff8fa3', '#8fd08f', '#6fd0dd'];
const MARKS = ['●', '▲', '■', '◆', '▼', '✚', '★', '✖', '⬟', '⬢'];

export const MOST = LIGHT.length;

export const paint = (k) => (document.documentElement.dataset.theme === 'dark' ? DARK : LIGHT)[k % MOST];

export const mark = (k) => MARKS[k % MARKS.length];

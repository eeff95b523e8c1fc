// Colours and marks of genres and runs: 4.5 to one or better on the page.

const LIGHT = ['#006ba8', '#b54700', '#007053', '#a54a86', '#806000', '#5d4bb5', '#555555', '#b81c3a', '#35703a', '#1f7080'];
const DARK = ['#56b4e9', '#ff9d5c', '#3fc79a', '#e6a3cb', '#e0bf4a', '#b3a4ff', '#b5bcc6', '#ff8fa3', '#8fd08f', '#6fd0dd'];
const MARKS = ['●', '▲', '■', '◆', '▼', '✚', '★', '✖', '⬟', '⬢'];

export const MOST = LIGHT.length;

export const paint = (k) => (document.documentElement.dataset.theme === 'dark' ? DARK : LIGHT)[k % MOST];

export const mark = (k) => MARKS[k % MARKS.length];

// What edits are called.

export const METHODS = {
  mean_shift: 'Mean shift', boundary: 'Boundary', erasure: 'Erasure', transport: 'Transport',
};

export const request = ({ strength, ...rest }) => rest;

const plain = (value) => JSON.stringify(value, (_, v) => (v && typeof v === 'object' && !Array.isArray(v)
  ? Object.fromEntries(Object.entries(v).filter(([, x]) => x !== null).sort()) : v));

// Whether two requests ask for the same edit.
export const same = (a, b) => plain(a) === plain(b);

export function label(edit) {
  if (edit.file) return edit.file.split('/').pop();
  if (edit.name === 'axes') return `axis ${edit.axis + 1}`;
  const way = [edit.source, edit.target].filter(Boolean).join(' → ');
  return edit.name === 'optimise' ? `optimised ${way}` : `${(METHODS[edit.name] || edit.name).toLowerCase()} ${way}`;
}

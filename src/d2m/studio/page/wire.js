// Requests to the studio, and the frames of its answers: see d2m/studio/wire.py.

export class Refused extends Error {}

async function message(response) {
  try {
    return (await response.json()).message || `the studio answered ${response.status}`;
  } catch {
    return `the studio answered ${response.status}`;
  }
}

export async function get(path) {
  const response = await fetch(path).catch(() => { throw new Refused('the studio does not answer: is it still running?'); });
  if (!response.ok) throw new Refused(await message(response));
  return response.json();
}

export async function post(path, body) {
  const response = await fetch(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
    .catch(() => { throw new Refused('the studio does not answer: is it still running?'); });
  if (!response.ok) throw new Refused(await message(response));
  return response.json();
}

export async function put(path, file) {
  const response = await fetch(path, { method: 'PUT', body: file }).catch(() => { throw new Refused('the studio does not answer: is it still running?'); });
  if (!response.ok) throw new Refused(await message(response));
  return response.json();
}

// Takes one frame off the front of `data`; null if it is not whole yet.
function frameOf(data) {
  if (data.length < 8) return null;
  const view = new DataView(data.buffer, data.byteOffset);
  const size = view.getUint32(0, true);
  if (data.length < 4 + size) return null;
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(data.subarray(8, 8 + length)));
  const arrays = {};
  let at = 8 + length;
  for (const { name, dtype, shape } of header.arrays) {
    const n = shape.reduce((a, b) => a * b, 1);
    const bytes = data.slice(at, at + n * (dtype === 'uint8' ? 1 : 4));
    arrays[name] = dtype === 'uint8' ? bytes : new Float32Array(bytes.buffer);
    at += bytes.length;
  }
  return { header, arrays, size: 4 + size };
}

// Posts `body` and hands every frame to `take(header, arrays)`; resolves when the answer ends.
export async function ask(path, body, take, signal) {
  const response = await fetch(path, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' }, signal,
  }).catch((e) => {
    if (e.name === 'AbortError') throw e;
    throw new Refused('the studio does not answer: is it still running?');
  });
  if (!response.ok) throw new Refused(await message(response));
  const reader = response.body.getReader();
  let left = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(left.length + value.length);
    joined.set(left);
    joined.set(value, left.length);
    left = joined;
    for (let frame = frameOf(left); frame; frame = frameOf(left)) {
      left = left.slice(frame.size);
      if (frame.header.kind === 'error') throw new Refused(frame.header.message);
      take(frame.header, frame.arrays);
    }
  }
}

// Dancers on canvases: one scale and one floor for all panels, as d2m/draw/view.py has them.

const COLOURS = {
  dark: { back: '#11141b', ground: '#181d26', line: '#3a4250', right: '#f09e1e', left: '#56b4e9', middle: '#e8ebf0', torso: '#2b3340' },
  light: { back: '#fafaf8', ground: '#eeefee', line: '#bec2c8', right: '#d55e00', left: '#0072b2', middle: '#464c56', torso: '#dee1e6' },
};
const TRUNK = [2, 5, 11, 8];
const ONION = [-6, -3, 3, 6];
const TRAILED = [4, 7, 10, 13];
const TRAIL = 12;

// Poses (t, 14, 2) at a fractional frame: Catmull-Rom, through every pose.
export function poseAt(poses, frame) {
  const t = poses.length / 28;
  const at = Math.min(Math.max(frame, 0), t - 1);
  const i = Math.min(Math.floor(at), Math.max(t - 2, 0));
  const u = at - i;
  const out = new Float32Array(28);
  if (u === 0 || t === 1) return poses.slice(28 * i, 28 * i + 28);
  for (let c = 0; c < 28; c += 1) {
    const p1 = poses[28 * i + c];
    const p2 = poses[28 * (i + 1) + c];
    const d = p2 - p1;
    const m1 = i > 0 ? (p2 - poses[28 * (i - 1) + c]) / 2 : d;
    const m2 = i < t - 2 ? (poses[28 * (i + 2) + c] - p1) / 2 : d;
    out[c] = p1 + u * (m1 + u * (3 * d - 2 * m1 - m2 + u * (m1 + m2 - 2 * d)));
  }
  return out;
}

export class Panel {
  constructor(parent, name, caption) {
    this.name = name;
    this.figure = document.createElement('figure');
    this.canvas = document.createElement('canvas');
    this.canvas.id = `panel-${name}`;
    this.canvas.setAttribute('role', 'img');
    this.caption = document.createElement('figcaption');
    this.figure.append(this.canvas, this.caption);
    parent.append(this.figure);
    this.say(caption);
  }

  say(caption) {
    this.caption.textContent = caption;
    this.canvas.setAttribute('aria-label', `dancer: ${caption}`);
  }

  // The canvas as large as it is shown.
  measure() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (w && h && (this.canvas.width !== w || this.canvas.height !== h)) Object.assign(this.canvas, { width: w, height: h });
  }
}

// boxes: [left, right, top, bottom, floor] of every panel.
export function fit(boxes, torso, width, height) {
  const half = Math.max(...boxes.map((b) => b[1] - b[0])) / 2 + 0.3 * torso;
  const above = Math.max(...boxes.map((b) => b[4] - b[2])) + 0.42 * torso;
  const below = Math.max(...boxes.map((b) => b[3] - b[4]), 0) + 0.3 * torso;
  const room = height * 0.94;
  const scale = Math.min((0.94 * width) / (2 * half), room / (above + below));
  const slack = room - scale * (above + below);
  return { scale, x: width / 2, y: 0.03 * height + 0.6 * slack + scale * above, torso: scale * torso };
}

function figure(g, pose, view, box, theme, limbs, ghost) {
  const [ox, oy] = [(box[0] + box[1]) / 2, box[4]];
  const x = (j) => (pose[2 * j] - ox) * view.scale + view.x;
  const y = (j) => (pose[2 * j + 1] - oy) * view.scale + view.y;
  const width = Math.max(2, 0.15 * view.torso);
  g.lineCap = 'round';
  g.lineJoin = 'round';
  if (!ghost) {
    g.fillStyle = theme.torso;
    g.beginPath();
    TRUNK.forEach((j, k) => (k ? g.lineTo(x(j), y(j)) : g.moveTo(x(j), y(j))));
    g.fill();
  }
  for (const side of ['left', 'right', 'middle']) {
    for (const [edge, colour] of [[width * 1.33, theme.back], [width, theme[side]]]) {
      if (ghost && edge !== width) continue;
      g.strokeStyle = colour;
      g.lineWidth = ghost ? width / 2 : edge;
      g.beginPath();
      for (const [a, b, s] of limbs) {
        if (s === side) {
          g.moveTo(x(a), y(a));
          g.lineTo(x(b), y(b));
        }
      }
      g.stroke();
    }
  }
  g.fillStyle = theme.middle;
  g.beginPath();
  g.arc(x(0), y(0), 0.235 * view.torso, 0, 7);
  g.fill();
}

// Draws one panel at a fractional frame. look: {onion, trails, dark}.
export function draw(panel, poses, box, dance, view, frame, look) {
  const theme = COLOURS[look.dark ? 'dark' : 'light'];
  const { canvas } = panel;
  const g = canvas.getContext('2d');
  g.globalAlpha = 1;
  g.fillStyle = theme.back;
  g.fillRect(0, 0, canvas.width, canvas.height);
  g.fillStyle = theme.ground;
  g.fillRect(0, view.y, canvas.width, canvas.height - view.y);
  g.strokeStyle = theme.line;
  g.lineWidth = 1;
  g.beginPath();
  g.moveTo(0, view.y);
  g.lineTo(canvas.width, view.y);
  g.stroke();
  if (look.onion) {
    for (const step of ONION) {
      const at = frame + step;
      if (at < 0 || at > poses.length / 28 - 1) continue;
      g.globalAlpha = 0.1 + 0.1 * (1 - Math.abs(step) / 7);
      figure(g, poseAt(poses, at), view, box, theme, dance.limbs, true);
    }
    g.globalAlpha = 1;
  }
  if (look.trails) {
    g.lineCap = 'butt'; // round ends would show as beads
    g.lineWidth = Math.max(1.5, 0.05 * view.torso);
    for (const j of TRAILED) {
      g.strokeStyle = theme[dance.joints[j].startsWith('right') ? 'right' : 'left'];
      let last = null;
      for (let k = TRAIL; k >= 0; k -= 0.5) {
        const p = poseAt(poses, frame - k);
        const at = [(p[2 * j] - (box[0] + box[1]) / 2) * view.scale + view.x, (p[2 * j + 1] - box[4]) * view.scale + view.y];
        if (last) {
          g.globalAlpha = 0.7 * (1 - k / TRAIL);
          g.beginPath();
          g.moveTo(...last);
          g.lineTo(...at);
          g.stroke();
        }
        last = at;
      }
    }
    g.globalAlpha = 1;
  }
  figure(g, poseAt(poses, frame), view, box, theme, dance.limbs, false);
}

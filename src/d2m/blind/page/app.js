"use strict";

// STUDY comes from study.js: {study, title, intro, question, seconds, watch, slots: [{trials, options}]}.
// A trial is {shown: [left, right], genre} or {shown: [dance]}; which question counts for what is not known here.

const $ = (id) => document.getElementById(id);
const films = [$("left"), $("right")];
const asked = new URLSearchParams(location.search).get("p");
const numbered = /^[1-9][0-9]{0,5}$/.test(asked ?? "");
const place = `d2m-blind:${STUDY.study}:${numbered ? asked : "drawn"}`;

let state = null;
let trial = null; // what is shown now
let view = null; // of this trial: {answer, seen, plays, began, used, playing}

// ---- state: kept in the browser, so that a reload goes on where it was

function fresh() {
  const session = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
  const drawn = crypto.getRandomValues(new Uint32Array(1))[0] % STUDY.slots.length;
  const participant = numbered ? Number(asked) : drawn + 1;
  return {
    format: "d2m-blind-answers-1", study: STUDY.study, session, participant, numbered,
    slot: (participant - 1) % STUDY.slots.length, started: null, finished: null, answers: [],
  };
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(state));
    return true;
  } catch {
    return false;
  }
}

function kept() {
  try {
    const old = JSON.parse(localStorage.getItem(place));
    return old && old.study === STUDY.study && Array.isArray(old.answers) ? old : null;
  } catch {
    return null;
  }
}

// ---- screens

function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  window.scrollTo(0, 0);
}

function slot() {
  return STUDY.slots[state.slot];
}

function intro() {
  $("title").textContent = STUDY.title;
  $("words").replaceChildren(...STUDY.intro.map((text) => {
    const p = document.createElement("p");
    p.textContent = text;
    return p;
  }));
  const minutes = Math.max(1, Math.ceil((slot().trials.length * (STUDY.seconds + 6)) / 60));
  $("length").textContent = `${slot().trials.length} questions, about ${minutes} minute${minutes > 1 ? "s" : ""}.`;
  if (state.started) $("start").textContent = "Continue";
  $("agree").checked = Boolean(state.started);
  $("start").disabled = !state.started;
  $("unkept").hidden = keep();
  show("intro");
}

function next() {
  const k = state.answers.length;
  if (k >= slot().trials.length) {
    finish();
    return;
  }
  trial = slot().trials[k];
  const two = trial.shown.length === 2;
  view = { answer: null, seen: [0, 0], plays: 0, began: null, used: trial.shown.length, playing: false };
  $("place").textContent = `Question ${k + 1} of ${slot().trials.length}`;
  $("progress").max = slot().trials.length;
  $("progress").value = k;
  $("question").textContent = two ? STUDY.question.replaceAll("{genre}", () => trial.genre) : "What kind of dance is this?";
  $("figure-right").hidden = !two;
  $("stage").className = two ? "two" : "one";
  films.forEach((film, i) => {
    film.pause();
    if (i < view.used) film.src = `media/${trial.shown[i]}.mp4`;
    else film.removeAttribute("src");
    film.load();
  });
  buttons(two ? [["left", "Left"], ["right", "Right"]] : slot().options.map((g) => [g, g]), two);
  $("keys").textContent = `Keys: space plays, ${two ? "← and →" : "1, 2, 3 …"} choose, enter goes on.`;
  $("problem").hidden = true;
  show("trial");
  refresh();
  $("question").focus({ preventScroll: true });
  ahead(slot().trials[k + 1]);
}

function buttons(choices, two) {
  $("choices").className = two ? "two" : "many";
  $("choices").replaceChildren(...choices.map(([value, text], i) => {
    const button = document.createElement("button");
    button.textContent = two ? text : `${i + 1}  ${text}`;
    button.dataset.value = value;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(value));
    return button;
  }));
}

let loading = []; // the next trial's videos, on their way

function ahead(coming) {
  loading = (coming?.shown ?? []).map((name) => {
    const film = document.createElement("video");
    film.preload = "auto";
    film.muted = true;
    film.src = `media/${name}.mp4`;
    return film;
  });
}

function finish() {
  films.forEach((film) => film.pause());
  if (!state.finished) state.finished = new Date().toISOString();
  keep();
  $("next-person").hidden = numbered; // a number is one person's
  show("done");
  $("thanks").focus({ preventScroll: true });
}

// ---- playing: both dances start together, and only the left one sounds (the sound is the same).
// A dance whose kind is guessed is silent: the music would give the answer.

async function play() {
  const used = films.slice(0, view.used);
  const mine = view;
  const ready = used.every((film) => film.readyState >= 3);
  if (used.some((film) => film.ended)) used.forEach((film) => (film.currentTime = 0));
  films[0].muted = view.used === 1;
  films[1].muted = true;
  view.began ??= performance.now();
  view.playing = true;
  if (used[0].currentTime < 0.1) view.plays += 1;
  refresh();
  try {
    await Promise.all(used.map((film) => film.play()));
    // They came at different times: start both again, now that both are there.
    if (!ready && mine === view) used.forEach((film) => (film.currentTime = 0));
  } catch (error) {
    if (mine === view && error.name !== "AbortError") broken();
  }
}

function pause() {
  films.forEach((film) => film.pause());
  view.playing = false;
  refresh();
}

function watched() {
  return view.seen.slice(0, view.used).every((seen) => seen >= STUDY.watch);
}

function broken() {
  $("problem").hidden = false;
  view.playing = false;
  refresh();
}

films.forEach((film, i) => {
  film.addEventListener("timeupdate", () => {
    if (!view || !film.duration || i >= view.used) return;
    // The last report may come a quarter of a second before the end; "ended" settles it.
    view.seen[i] = Math.max(view.seen[i], film.currentTime / film.duration);
    if (i === 0 && view.used === 2 && view.playing && !films[1].ended && !film.ended &&
        Math.abs(films[1].currentTime - film.currentTime) > 0.1) films[1].currentTime = film.currentTime;
    refresh();
  });
  film.addEventListener("ended", () => {
    if (!view) return;
    view.seen[i] = 1;
    if (films.slice(0, view.used).every((f) => f.ended)) view.playing = false;
    refresh();
  });
  film.addEventListener("error", () => {
    if (view && film.hasAttribute("src")) broken();
  });
  film.addEventListener("click", () => (view.playing ? pause() : play()));
});

// ---- answering

function choose(value) {
  if (!watched()) return;
  view.answer = value;
  refresh();
}

function answered(value) {
  const seconds = view.began === null ? 0 : (performance.now() - view.began) / 1000;
  state.started ??= new Date().toISOString();
  state.answers.push({ shown: trial.shown, answer: value, seconds: Math.round(seconds * 100) / 100, plays: view.plays });
  keep();
  next();
}

function refresh() {
  const free = watched();
  const two = view.used === 2;
  for (const button of $("choices").children) {
    button.disabled = !free;
    button.setAttribute("aria-pressed", String(button.dataset.value === view.answer));
  }
  ["left", "right"].forEach((side) => $(`figure-${side}`).classList.toggle("chosen", two && view.answer === side));
  $("next").disabled = view.answer === null;
  const text = view.playing ? "Pause" : view.plays ? "Play again" : "Play";
  if ($("play").textContent !== text) $("play").textContent = text;
  const hint = free ? (view.answer === null ? "Now choose." : "") : `Watch to the end${two ? "" : " (no sound)"}, then choose.`;
  if ($("hint").textContent !== hint) $("hint").textContent = hint;
}

document.addEventListener("keydown", (event) => {
  if ($("trial").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const on = event.target.closest?.("button");
  const choices = [...$("choices").children];
  const two = view.used === 2;
  if (event.key === " " && !on) pressed(event, () => (view.playing ? pause() : play()));
  else if (two && event.key === "ArrowLeft") pressed(event, () => choose("left"));
  else if (two && event.key === "ArrowRight") pressed(event, () => choose("right"));
  else if (choices[event.key - 1]) pressed(event, () => choose(choices[event.key - 1].dataset.value));
  else if (event.key === "Enter" && !$("next").disabled && (!on || on.getAttribute("aria-pressed") === "true")) {
    pressed(event, () => answered(view.answer));
  }
});

function pressed(event, act) {
  event.preventDefault();
  if (!event.repeat) act();
}

$("agree").addEventListener("change", () => ($("start").disabled = !$("agree").checked));
$("start").addEventListener("click", () => {
  state.started ??= new Date().toISOString();
  keep();
  next();
});
$("play").addEventListener("click", () => (view.playing ? pause() : play()));
$("next").addEventListener("click", () => answered(view.answer));
$("retry").addEventListener("click", () => {
  $("problem").hidden = true;
  films.slice(0, view.used).forEach((film) => film.load());
  play();
});
$("skip").addEventListener("click", () => answered(null));

// ---- handing over

function answers() {
  return `${JSON.stringify(state, null, 1)}\n`;
}

$("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([answers()], { type: "application/json" }));
  link.download = `answers-${STUDY.study}-${state.participant}-${state.session.slice(0, 6)}.json`;
  document.body.append(link);
  link.click();
  link.remove();
  $("saved").textContent = `${link.download} is among your downloads.`;
});
$("copy").addEventListener("click", async () => {
  $("text").hidden = false;
  $("text").value = answers();
  $("text").select();
  try {
    await navigator.clipboard.writeText(answers());
    $("saved").textContent = "Copied.";
  } catch {
    $("saved").textContent = "Copy the text below.";
  }
});
$("another").addEventListener("click", () => {
  if (!confirm("Have the answers been downloaded? They are removed from this device.")) return;
  try {
    localStorage.removeItem(place);
  } catch { /* nothing was kept */ }
  location.reload();
});

document.title = STUDY.title;
state = kept() ?? fresh();
if (state.finished) finish();
else intro();

// The song's sound as the clock.

const FRAME = 1 / 15;

export class Player {
  // lost: called once for a sound that cannot be had any more.
  constructor(audio, lost = () => {}) {
    Object.assign(this, { audio, loop: null, seconds: 0, at: 0, from: null, missing: null });
    audio.addEventListener('error', () => {
      const url = audio.getAttribute('src');
      if (!url || this.missing === url) return;
      this.missing = url;
      lost();
    });
    audio.preservesPitch = true;
    audio.addEventListener('ended', () => { this.at = this.seconds; });
  }

  load(url, seconds) {
    this.seconds = seconds;
    if (this.audio.getAttribute('src') === url && !this.audio.error) return;
    const at = Math.min(this.time, seconds);
    this.audio.src = url;
    this.seek(at < seconds ? at : 0);
  }

  get playing() { return !this.audio.paused && !this.audio.ended; }

  // The sound's own time, made smooth between its reports; it never runs ahead of the next one by more than 0.1 s.
  get time() {
    if (!this.playing) return this.at;
    const sound = this.audio.currentTime;
    const now = performance.now();
    if (!this.from || this.from.sound !== sound) this.from = { sound, now };
    return Math.min(sound + Math.min(((now - this.from.now) / 1000) * this.audio.playbackRate, 0.1), this.seconds);
  }

  set speed(rate) {
    this.audio.defaultPlaybackRate = rate;
    this.audio.playbackRate = rate;
  }

  seek(t) {
    this.at = Math.min(Math.max(t, 0), this.seconds);
    this.from = null;
    this.audio.currentTime = this.at;
  }

  step(frames) {
    this.pause();
    this.seek((Math.round(this.at / FRAME) + frames) * FRAME);
  }

  pause() {
    this.at = this.time;
    this.audio.pause();
  }

  async toggle() {
    if (this.playing) {
      this.pause();
      this.seek(this.at);
      return;
    }
    if (this.at >= this.seconds - 0.05) this.seek(this.loop ? this.loop[0] : 0);
    await this.audio.play();
  }

  // Called every frame: keeps within the loop.
  turn() {
    if (!this.playing) return;
    const t = this.time;
    if (this.loop && (t >= this.loop[1] || t < this.loop[0] - 0.1)) this.seek(this.loop[0]);
  }
}

// @ts-check
/** The console's log of frames: bounded, filtered, paused, copied. @module */
import { batched, byId, el, setText } from './dom.js';

const KEPT = 1000;
const ARROWS = { in: '↓', out: '↑', note: '·', http: '⇄' };
const WORDS = { in: 'received', out: 'sent', note: 'connection', http: 'REST' };

/**
 * Tokens are as good as passwords, and logs get pasted into reports: only the beginning is shown.
 */
const redacted = (name, value) => (typeof value === 'string' && /token$/.test(name) && value.length > 12 ? `${value.slice(0, 8)}…` : value);

/** @param {Date} at */
const stamp = (at) => `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, '0')}`;

export class FrameLog {
  /**
   * @type {{at: string, direction: string, type: string, text: string, error: boolean, node:
   * any}[]}
   */
  #entries = [];
  #types = new Set();
  #paused = false;
  #held = 0;
  #dirty = [];
  #render = batched(() => this.#flush());

  constructor() {
    for (const id of ['filter-direction', 'filter-type', 'filter-text']) byId(id).addEventListener('input', () => this.#redraw());
    byId('clear').addEventListener('click', () => { this.#entries = []; this.#held = 0; this.#redraw(); });
    byId('copy').addEventListener('click', () => this.#copy());
    byId('pause').addEventListener('click', () => this.#pause());
    this.#count();
  }

  /**
   * @param {'in'|'out'|'note'|'http'} direction
   * @param {string} type
   * @param {unknown} data
   * @param {boolean} [error]
   */
  add(direction, type, data, error = type === 'error') {
    const text = data === null || data === undefined ? '' : typeof data === 'string' ? data : JSON.stringify(data, redacted, 2);
    const entry = { at: stamp(new Date()), direction, type, text, error, node: null };
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift()?.node?.remove();
    if (!this.#types.has(type) && this.#types.size < 200) {
      this.#types.add(type);
      byId('filter-type').append(el('option', {}, type));
    }
    if (this.#paused) this.#held += 1;
    else this.#dirty.push(entry);
    this.#render();
  }

  #visible({ direction, type, text }) {
    const wanted = byId('filter-text').value.trim().toLowerCase();
    return (!byId('filter-direction').value || byId('filter-direction').value === direction)
      && (!byId('filter-type').value || byId('filter-type').value === type)
      && (!wanted || `${type} ${text}`.toLowerCase().includes(wanted));
  }

  #node(entry) {
    entry.node ??= el('li', { class: `frame ${entry.direction}${entry.error ? ' error' : ''}`, 'data-type': entry.type, 'data-direction': entry.direction },
      el('span', { class: 'arrow', 'aria-hidden': 'true' }, ARROWS[entry.direction]),
      el('time', {}, entry.at),
      el('span', { class: 'type' }, el('span', { class: 'hidden-label' }, `${WORDS[entry.direction]} `), entry.type),
      entry.text ? el('pre', {}, entry.text) : null);
    return entry.node;
  }

  #flush() {
    const list = byId('frames');
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    const kept = new Set(this.#entries);
    list.append(...this.#dirty.filter((entry) => kept.has(entry) && this.#visible(entry)).map((entry) => this.#node(entry)));
    this.#dirty = [];
    if (atEnd) list.scrollTop = list.scrollHeight;
    this.#count();
  }

  #redraw() {
    const list = byId('frames');
    const shown = this.#paused && this.#held > 0 ? this.#entries.slice(0, -this.#held) : this.#entries;
    this.#dirty = [];
    list.replaceChildren(...shown.filter((entry) => this.#visible(entry)).map((entry) => this.#node(entry)));
    list.scrollTop = list.scrollHeight;
    this.#count();
  }

  #count() {
    const shown = byId('frames').children.length;
    const total = this.#entries.length;
    const parts = [shown === total ? `${total}` : `${shown} of ${total}`];
    if (this.#paused) parts.push(this.#held > 0 ? `paused, ${this.#held} more` : 'paused');
    setText(byId('count'), total > 0 || this.#paused ? parts.join(', ') : '');
  }

  #pause() {
    this.#paused = !this.#paused;
    this.#held = 0;
    byId('pause').setAttribute('aria-pressed', String(this.#paused));
    setText(byId('pause'), this.#paused ? 'Go on' : 'Pause');
    if (this.#paused) this.#flush();
    else this.#redraw();
    this.#count();
  }

  /**
   * The shown entries as text; without a secure context there is no clipboard API, so the old way
   * it is.
   */
  async #copy() {
    const text = this.#entries.filter((entry) => entry.node?.isConnected)
      .map(({ at, direction, type, text: body }) => `${at} ${ARROWS[direction]} ${type}${body ? ` ${body.replace(/\n\s*/g, ' ')}` : ''}`).join('\n');
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el('textarea', { class: 'hidden-label' });
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand('copy');
      area.remove();
    }
    setText(byId('copy'), done ? 'Copied' : 'Not copied');
    setTimeout(() => setText(byId('copy'), 'Copy'), 1500);
  }
}

// @ts-check
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { MemoryStore } from '../src/stores.js';

/** One JSON file, replaced as a whole: a crash leaves the old one or the new one. */
export class FileStore extends MemoryStore {
  #path;

  /** @param {string} path */
  constructor(path) {
    super();
    this.#path = path;
    if (existsSync(path)) this.cursors = new Map(JSON.parse(readFileSync(path, 'utf8')));
  }

  /** @param {number} chatId @param {import('../src/stores.js').Cursor|null} cursor */
  save(chatId, cursor) {
    super.save(chatId, cursor);
    const fresh = `${this.#path}.new`;
    const file = openSync(fresh, 'w');
    try {
      writeSync(file, JSON.stringify([...this.cursors]));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, this.#path);
  }
}

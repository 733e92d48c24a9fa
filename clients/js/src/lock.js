// @ts-check
/**
 * One tab at a time. The browser's own locks exist in secure contexts only (HTTPS and the own
 * machine), and not where cookies are blocked: elsewhere a note in the storage that all tabs share
 * does the same.
 * @module
 */
import { randomId } from './random.js';

/** How long a note holds: a tab that died with it is waited for no longer. */
const NOTE_MS = 20_000;
/** A tab that wrote its note waits so long for another that wrote in the same moment. */
const SETTLE_MS = 40;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Runs `work` while no other tab runs one under the same name.
 * @template T
 * @param {string} name
 * @param {import('./storage.js').Keeper|Storage} storage
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(name, storage, work) {
  let begun = false;
  const own = () => { begun = true; return work(); };
  try {
    if (globalThis.navigator?.locks) return await navigator.locks.request(name, own);
  } catch (error) {
    if (begun) throw error;
  }
  return withNote(`${name}.lock`, storage, work);
}

async function withNote(key, storage, work) {
  const me = randomId();
  const holder = () => {
    const [id, until] = (storage.getItem(key) ?? '').split(' ');
    return Number(until) > Date.now() ? id : '';
  };
  for (;;) {
    while (holder()) await pause(SETTLE_MS * (1 + Math.random()));
    storage.setItem(key, `${me} ${Date.now() + NOTE_MS}`);
    await pause(SETTLE_MS);
    if (holder() === me) break;
  }
  try {
    return await work();
  } finally {
    if (holder() === me) storage.removeItem(key);
  }
}

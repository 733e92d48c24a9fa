// @ts-check
/** The client for Node: the same, with a WebSocket and a file for the cursors. @module */
import { webcrypto } from 'node:crypto';
import { Messenger as Anywhere } from '../src/client.js';
import { FileStore } from './file_store.js';
import { NodeSocket } from './socket.js';

export * from '../src/client.js';
export { FileStore };

// Node 18 has it, and not as a global.
globalThis.crypto ??= /** @type {any} */ (webcrypto);

export class Messenger extends Anywhere {
  /** @param {string} url @param {any} [options] */
  constructor(url, options = {}) {
    super(url, { WebSocket: NodeSocket, ...options });
  }
}

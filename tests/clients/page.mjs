// The JavaScript client as a page has it: what it takes from where the page comes from, and what a
// socket that it has let go of may still do.
import assert from 'node:assert/strict';
import { Connection, Session } from '../../clients/js/src/messenger.js';

const storage = { getItem: () => null, setItem() {}, removeItem() {} };

// A page of a file, of an app, and of a server.
for (const origin of ['null', 'capacitor://localhost', 'https://chat.example']) {
  globalThis.location = { origin };
  assert.equal(new Session({ storage }).base, origin);
  assert.equal(new Session({ base: '', storage }).base, origin);
  assert.equal(new Session({ base: 'https://a.example', storage }).base, 'https://a.example');
  for (const base of ['chat.example', 'localhost:8000', origin.replace('https', 'wss')]) {
    assert.throws(() => new Session({ base, storage }), /http:\/\//);
  }
}
delete globalThis.location;
assert.throws(() => new Session({ base: '', storage }), /http:\/\//);

let opened = 0;
let socket;
class OpensLate {
  constructor() {
    socket = this;
    this.onopen = () => { opened += 1; };
  }

  close() {}
}
const session = new Session({ base: 'http://127.0.0.1:8000', storage });
session.adopt('a-token');
const connection = new Connection(session, { WebSocket: OpensLate });
connection.start();
connection.close();
socket.onopen?.();
assert.equal(opened, 0);
assert.equal(typeof socket.onerror, 'function');
session.close();

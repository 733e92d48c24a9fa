// @ts-check
/**
 * A WebSocket for Node, which has none before version 22. It speaks as much of RFC 6455 as the
 * messenger does: text, ping and close, no extension.
 * @module
 */
import { createHash, randomBytes } from 'node:crypto';
import { request as http } from 'node:http';
import { request as https } from 'node:https';

const TEXT = 0x1;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;
/** A server that sends more in one message is a fault. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** So long a close waits for the other side. */
const CLOSE_MS = 1000;
const ACCEPT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const ABNORMAL = 1006;

export class NodeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #request;
  /** @type {import('node:stream').Duplex|null} */
  #socket = null;
  #read = Buffer.alloc(0);
  /** @type {Buffer[]} */
  #pieces = [];
  #bytes = 0;
  #ended = false;
  #saidClose = false;
  #code = ABNORMAL;
  #reason = '';

  /** @param {URL|string} url @param {string[]} [protocols] */
  constructor(url, protocols = []) {
    const at = new URL(url);
    const key = randomBytes(16).toString('base64');
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key, ...(protocols.length > 0 ? { 'sec-websocket-protocol': protocols.join(', ') } : {}) };
    const { hostname, port, pathname, search } = at;
    const ask = at.protocol === 'wss:' ? https : http;
    this.#request = ask({ hostname: hostname.replace(/^\[|\]$/g, ''), port, path: pathname + search, headers, agent: false });
    this.#request.on('upgrade', (answer, socket, head) => {
      const accept = createHash('sha1').update(key + ACCEPT).digest('base64');
      if (answer.headers['sec-websocket-accept'] === accept) this.#opened(socket, head);
      else socket.destroy();
    });
    this.#request.on('response', (answer) => { answer.resume(); this.#end(); });
    this.#request.on('error', () => this.#end());
    this.#request.on('close', () => { if (!this.#socket) this.#end(); });
    this.#request.end();
  }

  /** @param {string} text */
  send(text) { this.#write(TEXT, Buffer.from(text)); }

  /** @param {number} [code] */
  close(code = 1000) {
    if (!this.#socket) this.#request.destroy();
    else this.#close(code);
  }

  #opened(socket, head) {
    this.#socket = socket;
    socket.setNoDelay?.(true);
    socket.on('data', (bytes) => this.#receive(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#end());
    this.onopen?.();
    if (head.length > 0) this.#receive(head);
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    this.onclose?.({ code: this.#code, reason: this.#reason });
  }

  /** Says goodbye once, and lets go even where nobody answers. */
  #close(code) {
    const socket = this.#socket;
    if (this.#saidClose || !socket) return;
    this.#saidClose = true;
    const payload = Buffer.alloc(code === ABNORMAL ? 0 : 2);
    if (payload.length > 0) payload.writeUInt16BE(code);
    this.#write(CLOSE, payload);
    socket.end();
    const timer = setTimeout(() => socket.destroy(), CLOSE_MS);
    socket.once('close', () => clearTimeout(timer));
  }

  #write(opcode, payload) {
    const mask = randomBytes(4);
    const { length } = payload;
    const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const head = Buffer.alloc(2 + extra);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
    if (extra === 2) head.writeUInt16BE(length, 2);
    if (extra === 8) head.writeBigUInt64BE(BigInt(length), 2);
    const masked = Buffer.from(payload);
    for (let index = 0; index < length; index += 1) masked[index] ^= mask[index % 4];
    if (!this.#socket?.destroyed) this.#socket?.write(Buffer.concat([head, mask, masked]));
  }

  #receive(bytes) {
    this.#read = this.#read.length > 0 ? Buffer.concat([this.#read, bytes]) : bytes;
    for (let frame = this.#frame(); frame; frame = this.#frame()) this.#handle(frame);
  }

  /** The next whole frame of what was read, or null. */
  #frame() {
    const read = this.#read;
    if (read.length < 2) return null;
    const short = read[1] & 0x7f;
    const extra = short < 126 ? 0 : short === 126 ? 2 : 8;
    if (read.length < 2 + extra) return null;
    const length = extra === 0 ? short : extra === 2 ? read.readUInt16BE(2) : Number(read.readBigUInt64BE(2));
    if (length > MAX_MESSAGE_BYTES || read[1] & 0x80 || read[0] & 0x70) {
      this.#read = Buffer.alloc(0);
      this.#socket?.destroy();
      return null;
    }
    const end = 2 + extra + length;
    if (read.length < end) return null;
    this.#read = read.subarray(end);
    return { final: (read[0] & 0x80) !== 0, opcode: read[0] & 0x0f, payload: read.subarray(2 + extra, end) };
  }

  #handle({ final, opcode, payload }) {
    if (opcode === PING) return this.#write(PONG, payload);
    if (opcode === PONG) return;
    if (opcode === CLOSE) {
      this.#code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#reason = payload.subarray(2).toString();
      return this.#close(payload.length >= 2 ? this.#code : ABNORMAL);
    }
    this.#pieces.push(payload);
    this.#bytes += payload.length;
    if (this.#bytes > MAX_MESSAGE_BYTES) return this.#socket?.destroy();
    if (!final) return;
    const data = Buffer.concat(this.#pieces).toString();
    this.#pieces = [];
    this.#bytes = 0;
    this.onmessage?.({ data });
  }
}

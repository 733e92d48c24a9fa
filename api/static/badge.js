// @ts-check
/** How many messages are unread, told by the tab: in its title and on its icon. @module */

import { t } from './i18n.js';

const icon = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel=icon]'));
const plain = icon.href;
const BUBBLE = new Path2D('M8 10.5A2.5 2.5 0 0 1 10.5 8h11a2.5 2.5 0 0 1 2.5 2.5v7a2.5 2.5 0 0 1-2.5 2.5H15l-4.5 4v-4A2.5 2.5 0 0 1 8 17.5z');
let shown = '';

/** @param {number} count */
export function unreadBadge(count) {
  document.title = count > 0 ? `(${count}) ${t('app')}` : t('app');
  const label = count === 0 ? '' : count > 99 ? '99' : String(count);
  if (label === shown) return;
  shown = label;
  icon.type = label ? 'image/png' : 'image/svg+xml';
  icon.href = label ? drawn(label) : plain;
}

/** @param {string} label */
function drawn(label) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  pen.scale(2, 2);
  pen.fillStyle = '#2f6f5e';
  pen.beginPath();
  pen.roundRect(0, 0, 32, 32, 8);
  pen.fill();
  pen.fillStyle = '#fff';
  pen.fill(BUBBLE);
  pen.fillStyle = '#c3392f';
  pen.beginPath();
  pen.roundRect(32 - (label.length > 1 ? 22 : 17), 0, label.length > 1 ? 22 : 17, 17, 8.5);
  pen.fill();
  pen.fillStyle = '#fff';
  pen.font = 'bold 14px sans-serif';
  pen.textAlign = 'center';
  pen.fillText(label, 32 - (label.length > 1 ? 11 : 8.5), 13.5);
  return canvas.toDataURL();
}

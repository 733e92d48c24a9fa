/**
 * Keeps the chat page's files, so that it opens without a network. The server writes `RELEASE` and
 * `FILES` above this. Nothing of a user is kept here: calls to the API pass by.
 */
/* global RELEASE, FILES */
const HERE = new URL('./', self.location.href);
/** Several messengers may live under paths of one host, and share its caches. */
const OURS = `messenger.files@${HERE.pathname}#`;
const CACHE = OURS + RELEASE;
const ADDRESSES = FILES.map((file) => new URL(file, HERE).href);
const [SHELL] = ADDRESSES;
const plain = (url) => url.replace(/[?#].*$/, '');
const isPage = (url) => [HERE.href, SHELL].includes(plain(url));
/** Answers of a proxy whose servers are away. */
const AWAY = [502, 503, 504];

self.addEventListener('install', (event) => {
  event.waitUntil((async () => {
    const answers = await Promise.all(ADDRESSES.map((address) => fetch(address)));
    // While a release is rolled out, a node of the other one may answer: then not now.
    const page = await answers[0].clone().text();
    const immutable = answers.filter((answer) => answer.headers.get('cache-control')?.includes('immutable'));
    if (answers.some((answer) => !answer.ok) || !page.includes(`static/${RELEASE}/`) || immutable.length !== answers.length - 2) throw new Error('another release');
    const cache = await caches.open(CACHE);
    await Promise.all(answers.map((answer, index) => cache.put(ADDRESSES[index], answer)));
    await self.skipWaiting();
  })());
});

self.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET') return;
  const address = plain(request.url);
  if (request.mode === 'navigate') {
    if (isPage(address)) event.respondWith(page(request));
  } else if (address !== SHELL && ADDRESSES.includes(address)) {
    event.respondWith(kept(address, request));
  }
});

/**
 * The server's page, always: a new release shows at once. Without a server there is the last one.
 */
async function page(request) {
  try {
    const answer = await fetch(request);
    if (!AWAY.includes(answer.status)) return answer;
  } catch { /* there is no network */ }
  return await match(SHELL) ?? Response.error();
}

async function kept(address, request) {
  return await match(address) ?? fetch(request);
}

async function match(address) {
  return (await caches.open(CACHE)).match(address);
}

/** A notification leads to its chat: in the page that was last looked at, else in a new one. */
self.addEventListener('notificationclick', (event) => {
  const { notification } = event;
  notification.close();
  event.waitUntil((async () => {
    const pages = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
    const open = pages.find(({ url }) => isPage(url));
    if (!open) return self.clients.openWindow(new URL(`#/chat/${notification.data}`, HERE).href);
    open.postMessage({ chat: notification.data });
    return open.focus();
  })());
});

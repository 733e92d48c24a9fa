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
  const address = request.url.replace(/[?#].*$/, '');
  if (request.mode === 'navigate') {
    if (address === HERE.href || address === SHELL) event.respondWith(page(request));
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

// @ts-check
/** The dialog that begins a chat: with one person, with a group, or by joining a group. @module */
import { Attempt } from './attempt.js';
import { byId, el, onSubmit } from './dom.js';
import { t } from './i18n.js';
import { peopleSearch } from './people_search.js';
import { wordsFor } from './words.js';

/** @type {import('./store.js').Store} */
let store;
let opened = (/** @type {number} */ _id) => {};
/** @type {Map<number, any>} */
const chosen = new Map();
/** @type {(() => void)[]} */
let resets = [];

const creating = new Attempt();
const dialog = byId('new-dialog');
const tabs = [...dialog.querySelectorAll('[role=tab]')];

function select(tab, focus = true) {
  for (const other of tabs) {
    other.setAttribute('aria-selected', String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    byId(other.getAttribute('aria-controls')).hidden = other !== tab;
  }
  if (focus) tab.focus();
}

for (const [index, tab] of tabs.entries()) {
  tab.addEventListener('click', () => select(tab));
  tab.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) select(tabs[(index + step + tabs.length) % tabs.length]);
  });
}

function renderChosen() {
  byId('group-chosen').replaceChildren(...[...chosen.values()].map((user) => el('li', {},
    el('button', { type: 'button', 'aria-label': t('new.take_off', { name: user.username }), onclick: () => { chosen.delete(user.id); renderChosen(); } }, `${user.username} ×`))));
}

function done(id) {
  dialog.close();
  opened(id);
}

async function withPerson(user) {
  byId('person-fault').textContent = '';
  try {
    done(await store.create({ is_group: false, member_ids: [user.id] }));
  } catch (error) {
    byId('person-fault').textContent = wordsFor(error);
  }
}

onSubmit(byId('group-form'), async () => {
  const { name, description, is_public } = byId('group-form').elements;
  const body = { is_group: true, is_public: is_public.checked, name: name.value.trim(), description: description.value.trim(), member_ids: [...chosen.keys()] };
  done(await store.create(body, creating));
});

onSubmit(byId('join-form'), async () => done(await store.join(Number(byId('join-form').elements.id.value))));

/** @param {import('./store.js').Store} inStore @param {(id: number) => void} whenOpened */
export function newChatDialog(inStore, whenOpened) {
  store = inStore;
  opened = whenOpened;
  chosen.clear();
  renderChosen();
  const add = (user) => { chosen.set(user.id, user); renderChosen(); resets[1](); byId('group-search').focus(); };
  resets = [
    peopleSearch(store, byId('person-search'), byId('person-results'), withPerson, { all: true }),
    peopleSearch(store, byId('group-search'), byId('group-results'), add, { all: true, without: () => new Set(chosen.keys()) }),
  ];
  for (const form of dialog.querySelectorAll('[role=tabpanel] form')) form.reset();
  for (const fault of dialog.querySelectorAll('[role=alert]')) fault.textContent = '';
  select(tabs[0], false);
  dialog.showModal();
  byId('person-search').focus();
}

// @ts-check
/**
 * The messages are one tab stop: the arrow keys go from one to the next, Tab to what can be done
 * with it.
 * @module
 */

const PARTS = '.bubble a, .bubble button, .tools button';

export class MessageStop {
  #list;
  #below;
  /** @type {any} */
  #node = null;

  /** @param {HTMLElement} list @param {() => void} below goes to what is below the last one */
  constructor(list, below) {
    this.#list = list;
    this.#below = below;
    // The one of the next login takes this over, hence no addEventListener.
    list.onkeydown = (event) => this.#key(event);
  }

  /** The message that the Tab key reaches. */
  get node() { return this.#node; }

  /** @param {any} node */
  at(node) {
    if (node === this.#node) return;
    const reach = (item, index) => {
      if (!item) return;
      item.tabIndex = index;
      for (const part of item.querySelectorAll(PARTS)) part.tabIndex = index;
    };
    reach(this.#node, -1);
    reach(node, 0);
    this.#node = node;
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const all = /** @type {any[]} */ ([...this.#list.querySelectorAll('.message')]);
    const at = all.indexOf(event.target.closest('.message'));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = all[to];
    if (next) next.focus();
    else if (to >= all.length) this.#below();
  }
}

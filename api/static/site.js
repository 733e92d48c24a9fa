// @ts-check
/**
 * Where the server lives: at the root of its host, or under a path that a proxy takes away.
 * @module
 */

/** The address that the API's paths follow. */
export const BASE = import.meta.url.replace(/static\/([0-9a-f]+\/)?[^/]*$/, '');

const { pathname } = new URL(BASE);

/**
 * The name of something that the browser keeps for all pages of a host. Several servers under paths
 * of one host do not share it.
 * @param {string} name
 */
export const ours = (name) => (pathname === '/' ? name : `${name}@${pathname}`);

// Calls of /api/v1, with a token, and what went wrong in words.

import {renew, token} from './auth.js';
import {language, t} from './i18n.js';
import {heed} from './time.js';

const root = new URL('api/v1/', new URL('.', document.baseURI));

// What a call was answered with that was not a success (RFC 9457); status 0: nobody answered.
export class Problem extends Error {
	constructor(status, document = {}) {
		super(document.detail || document.title || t('error.offline'));
		this.status = status;
		this.document = document;
	}
}

let away = false;
const watchers = [];
export function onReach(watcher) {
	watchers.push(watcher);
}
function reach(reached) {
	if (away === !reached) return;
	away = !reached;
	for (const watcher of watchers) watcher(reached);
}

async function once(url, options) {
	const bearer = await token();
	if (!bearer) throw new Problem(401, {title: t('error.session')});
	return fetch(url, {...options, cache: 'no-store', headers: {...options.headers, Authorization: `Bearer ${bearer}`, 'Accept-Language': language}});
}

// The response, whatever its status but 401, which ends the session where no new token can be had.
export async function call(path, options = {}) {
	const url = new URL(path, root);
	let response;
	try {
		response = await once(url, options);
		if (response.status === 401 && await renew()) response = await once(url, options);
	} catch (error) {
		if (error.name === 'AbortError' || error instanceof Problem) throw error;
		reach(false);
		throw new Problem(0);
	}
	reach(true);
	heed(response);
	return response;
}

export async function fail(response) {
	let document;
	try {
		document = await response.json();
	} catch {
		document = {title: `${response.status} ${response.statusText}`};
	}
	return new Problem(response.status, document);
}

// The body as JSON; with `seen` (an object of the caller's) null where nothing has changed since.
export async function get(path, {signal, seen} = {}) {
	const response = await call(path, {signal, headers: seen && seen.etag && seen.path === path ? {'If-None-Match': seen.etag} : {}});
	if (response.status === 304) return null;
	if (!response.ok) throw await fail(response);
	if (seen) Object.assign(seen, {path, etag: response.headers.get('ETag'), more: /rel="next"/.test(response.headers.get('Link') || '')});
	return response.json();
}

// The address behind which a list goes on, as Link says (RFC 8288); null: here it ends.
export function nextOf(response) {
	const next = /<([^>]*)>\s*;\s*rel="next"/.exec(response.headers.get('Link') || '');
	return next ? new URL(next[1], root).searchParams.get('after') : null;
}

export async function page(path, {signal} = {}) {
	const response = await call(path, {signal});
	if (!response.ok) throw await fail(response);
	return {items: await response.json(), after: nextOf(response)};
}

export async function post(path, body, headers = {}) {
	const response = await call(path, {method: 'POST', ...(body === undefined ? {} : {body: JSON.stringify(body)}),
		headers: {...headers, ...(body === undefined ? {} : {'Content-Type': 'application/json'})}});
	if (!response.ok) throw await fail(response);
	return response.status === 204 ? null : response.json();
}

export function query(values) {
	const wanted = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined);
	return wanted.length ? `?${new URLSearchParams(wanted)}` : '';
}

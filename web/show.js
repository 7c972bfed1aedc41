// What several pages show in the same way.

import {Problem} from './api.js';
import {button, h, outward, svg} from './dom.js';
import {has, number, t} from './i18n.js';
import {bytes, duration} from './time.js';

export const statuses = ['Queued', 'Running', 'Finished', 'Failed', 'Cancelled'];
export function ended(status) {
	return status !== 'Queued' && status !== 'Running';
}

const KEY = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export function isKey(text) {
	return KEY.test(text.toLowerCase());
}
// What an address calls a job's key goes into calls only where it is one.
export function keyOf(text) {
	if (!isKey(text)) throw new Problem(404, {title: t('error.no_job')});
	return text.toLowerCase();
}

const shapes = {
	Queued: ['M8 4.5V8l2.5 1.5', true],
	Running: ['M6.5 5v6l5-3z', true],
	Finished: ['M4.8 8.2l2.2 2.2 4.2-4.6', true],
	Failed: ['M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8', true],
	Cancelled: ['M5 8h6', true],
};
export function statusIcon(status) {
	return svg('svg', {class: 'status-icon', viewBox: '0 0 16 16', 'aria-hidden': 'true'},
		svg('circle', {cx: 8, cy: 8, r: 6.75}), svg('path', {d: (shapes[status] || shapes.Queued)[0]}));
}
export function pill(status) {
	return h(`span.pill.is-${status.toLowerCase()}`, statusIcon(status), h('span', t(`status.${status}`)));
}

// "user/project" of a repository's address.
export function repository(url) {
	try {
		const {host, pathname} = new URL(url);
		const name = decodeURIComponent(pathname).replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
		return name || host;
	} catch {
		return url;
	}
}

export function shortCommit(commit) {
	return commit ? commit.slice(0, 10) : '';
}
// Where the big hosts, and whoever runs their software under such a name, show a commit; elsewhere it is text.
export function commitLink(url, commit) {
	const page = String(url).replace(/\/+$/, '').replace(/\.git$/, '');
	const hosts = [[/(^|\.)github\./, '/commit/'], [/(^|\.)gitlab\./, '/-/commit/'], [/(^|\.)bitbucket\.org$/, '/commits/'],
		[/(^|\.)(codeberg\.org|gitea\.|forgejo\.)/, '/commit/']];
	let host = '';
	try {
		host = new URL(page).hostname;
	} catch {
		return h('code', shortCommit(commit));
	}
	const found = hosts.find(([pattern]) => pattern.test(host));
	const code = h('code', {title: commit}, shortCommit(commit));
	return found ? outward(`${page}${found[1]}${encodeURIComponent(commit)}`, code) : code;
}

export function labels(all) {
	const names = Object.entries(all || {});
	if (!names.length) return null;
	return h('span.labels', names.map(([name, value]) => h('a.label', {href: `#/?label=${encodeURIComponent(value ? `${name}=${value}` : name)}`},
		h('bdi', value ? `${name}=${value}` : name))));
}

// An outcome in words: what happened, whose fault it was, what to do.
export function outcomeWords(outcome, limits = {}) {
	if (!outcome) return null;
	const code = has(`outcome.${outcome.code}`) ? outcome.code : 'other';
	const values = {exit_code: outcome.exit_code, signal: outcome.signal, code: outcome.code,
		timeout: limits && limits.timeout_s ? duration(limits.timeout_s * 1000) : '', memory: limits && limits.memory_bytes ? bytes(limits.memory_bytes) : '',
		processes: limits && limits.processes ? number(limits.processes) : '', disk: limits && limits.disk_bytes ? bytes(limits.disk_bytes) : ''};
	return {what: t(`outcome.${code}`, values), todo: has(`todo.${code}`) ? t(`todo.${code}`, values) : '',
		blame: outcome.blame && has(`blame.${outcome.blame}`) ? t(`blame.${outcome.blame}`) : '', message: outcome.message || ''};
}

export function problemBox(error, again) {
	const {request_id} = error.document || {};
	return h('div.notice.bad', {role: 'alert'}, h('p', error.message),
		request_id ? h('p.small', `${t('error.request')} `, h('code', request_id)) : null, again ? button(t('again'), again) : null);
}

export function empty(title, text, ...more) {
	return h('div.empty', h('h2', title), h('p', text), more);
}

export function skeleton(rows = 5) {
	return h('div.skeleton', {role: 'status', 'aria-label': t('loading')}, Array.from({length: rows}, () => h('div')));
}

export function copyButton(text, name) {
	const node = button(t('copy'), async () => {
		await navigator.clipboard.writeText(text);
		node.textContent = t('copied');
	}, {class: 'quiet', 'aria-label': `${t('copy')}: ${name}`});
	return node;
}

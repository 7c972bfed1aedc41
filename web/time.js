// Moments and durations for people. The server's clock counts: this machine's may be wrong.

import {h} from './dom.js';
import {locale, number, t} from './i18n.js';

let ahead = 0; // of the server's clock, in ms
export function heed(response) {
	const date = Date.parse(response.headers.get('Date') || '');
	if (Number.isNaN(date)) return;
	const off = date + 500 - Date.now();
	ahead = Math.abs(off) > 2000 ? off : 0;
}
export function now() {
	return Date.now() + ahead;
}

const exactly = new Intl.DateTimeFormat(locale, {dateStyle: 'medium', timeStyle: 'medium'});
const relatively = new Intl.RelativeTimeFormat(locale, {numeric: 'auto', style: 'long'});
const steps = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];

export function exact(moment) {
	return exactly.format(new Date(moment));
}

export function relative(moment) {
	let value = (Date.parse(moment) - now()) / 1000;
	if (Math.abs(value) < 5) return t('time.now');
	for (const [unit, size] of steps) {
		if (Math.abs(value) < size) return relatively.format(Math.round(value), unit);
		value /= size;
	}
	return exact(moment);
}

// How long ago, kept true; exactly on hover.
export function when(moment) {
	return moment ? h('time', {datetime: moment, title: exact(moment), 'data-relative': true}, relative(moment)) : h('span.nothing', '–');
}

export function duration(ms) {
	if (ms === null || ms === undefined) return '–';
	if (ms === 0) return t('time.s', {n: 0});
	if (ms < 1000) return t('time.ms', {n: Math.round(ms)});
	if (ms < 60000) return t('time.s', {n: ms < 10000 ? Math.round(ms / 100) / 10 : Math.round(ms / 1000)});
	const minutes = Math.floor(ms / 60000);
	const seconds = Math.floor(ms / 1000) % 60, hours = Math.floor(minutes / 60);
	if (minutes < 60) return t(seconds ? 'time.min_s' : 'time.min', {n: minutes, s: seconds});
	return t(minutes % 60 ? 'time.h_min' : 'time.h', {n: hours, min: minutes % 60});
}

// A duration that runs on since a moment.
export function running(moment) {
	return h('span', {'data-since': moment}, duration(now() - Date.parse(moment)));
}

export function bytes(count) {
	if (count === null || count === undefined) return '–';
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
	let value = count, unit = 0;
	for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
	return `${number(value)} ${units[unit]}`;
}

function tick() {
	if (document.hidden) return;
	for (const node of document.querySelectorAll('[data-relative]')) {
		const text = relative(node.getAttribute('datetime'));
		if (node.textContent !== text) node.textContent = text;
	}
	for (const node of document.querySelectorAll('[data-since]')) node.textContent = duration(now() - Date.parse(node.dataset.since));
}
setInterval(tick, 1000);
document.addEventListener('visibilitychange', tick);

// Why a job waits, and until when: with a range that counts down between two looks.

import {h} from './dom.js';
import {has, t} from './i18n.js';
import {duration, exact, now} from './time.js';

function reason(waiting) {
	const key = has(`waiting.${waiting.reason}`) ? `waiting.${waiting.reason}` : 'waiting.other';
	return t(key, {...waiting, until: waiting.until ? exact(waiting.until) : '', users: waiting.users});
}

function range(low, high) {
	if (high < 1000) return t('waiting.soon');
	if (low < 1000) return t('waiting.within', {high: duration(high)});
	return t('waiting.range', {low: duration(low), high: duration(high)});
}

// The node, counting until the signal.
export function waitingNode(waiting, signal) {
	const eta = h('strong.eta', {'data-eta': true});
	const facts = [];
	if (waiting.position) facts.push([t('waiting.position'), `${waiting.position_estimated ? '≈ ' : ''}${waiting.position}`]);
	if (waiting.own_position > 1) facts.push([t('waiting.own_position'), String(waiting.own_position)]);
	if (waiting.users > 1) facts.push([t('waiting.users'), String(waiting.users)]);
	if (waiting.running) facts.push([t('waiting.running'), String(waiting.running)]);
	const asOf = now();
	const count = () => {
		const gone = now() - asOf;
		if (waiting.eta_s) eta.textContent = range(Math.max(0, waiting.eta_s.low * 1000 - gone), Math.max(0, waiting.eta_s.high * 1000 - gone));
		else if (waiting.until) eta.textContent = t('waiting.not_before', {in: duration(Math.max(0, Date.parse(waiting.until) - now()))});
		else eta.textContent = t('waiting.unknown');
	};
	count();
	const timer = setInterval(count, 1000);
	signal.addEventListener('abort', () => clearInterval(timer));
	return h('section.panel.waiting', {'aria-labelledby': 'waiting-title'}, h('h2', {id: 'waiting-title'}, t('waiting')),
		h('p.reason', reason(waiting)), h('p', eta), facts.length ? h('dl.facts', facts.map(([name, value]) => h('div', h('dt', name), h('dd', value)))) : null);
}

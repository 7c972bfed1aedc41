// Attempts as bars of what they did: wait, fetch, prepare, start, run.

import {h} from './dom.js';
import {t} from './i18n.js';
import {outcomeWords} from './show.js';
import {bytes, duration, exact, now, running} from './time.js';

const steps = ['wait', 'fetch', 'workspace', 'start', 'run'];

function parts(job, attempt, before) {
	const times = attempt.times_us || {};
	const since = before ? Date.parse(before.finished_at) : Date.parse(job.eligible_at);
	const ms = {wait: Math.max(0, Date.parse(attempt.started_at) - since)};
	for (const step of steps.slice(1)) if (times[step] !== undefined) ms[step] = times[step] / 1000;
	const known = steps.slice(1).reduce((sum, step) => sum + (ms[step] || 0), 0);
	if (!attempt.finished_at) ms.rest = Math.max(0, now() - Date.parse(attempt.started_at) - known);
	else if (!known) ms.rest = Math.max(0, Date.parse(attempt.finished_at) - Date.parse(attempt.started_at));
	return [...steps, 'rest'].filter((step) => ms[step] !== undefined).map((step) => ({step, ms: ms[step]}));
}

function bar(job, attempt, before) {
	const all = parts(job, attempt, before);
	return h('div.bar-of', {'aria-hidden': 'true'}, all.filter(({ms}) => ms > 0).map(({step, ms}) => {
		const part = h(`span.of-${step}${attempt.finished_at ? '' : '.going'}`, {title: `${t(`step.${step}`)}: ${duration(ms)}`});
		part.style.flexGrow = Math.max(ms, 1);
		return part;
	}));
}

function figures(attempt) {
	const own = [];
	if (attempt.peak_memory_bytes) own.push(t('attempt.memory', {bytes: bytes(attempt.peak_memory_bytes)}));
	if (attempt.cpu_us) own.push(t('attempt.cpu', {time: duration(attempt.cpu_us / 1000)}));
	if (attempt.worker) own.push(t('attempt.worker', {worker: attempt.worker}));
	return own.join(' · ');
}

function item(job, attempt, before) {
	const words = outcomeWords(attempt.outcome, attempt.limits);
	return h('li.attempt', h('div.attempt-head', h('strong', t('attempt.n', {n: attempt.attempt})),
		h('time', {datetime: attempt.started_at}, exact(attempt.started_at)), h('span', words ? words.what : t('attempt.going'))), bar(job, attempt, before),
	h('ul.legend', parts(job, attempt, before).map(({step, ms}) => h('li', h(`span.dot.of-${step}`, {'aria-hidden': 'true'}), `${t(`step.${step}`)} `,
		step === 'rest' && !attempt.finished_at ? running(attempt.started_at) : duration(ms)))), figures(attempt) ? h('p.small', figures(attempt)) : null);
}

export function timeline(job) {
	const attempts = job.attempts || [];
	if (!attempts.length) return null;
	return h('section.panel.timeline', {'aria-labelledby': 'attempts-title'}, h('h2', {id: 'attempts-title'}, t('attempts')),
		h('ol', attempts.map((attempt, index) => item(job, attempt, attempts[index - 1]))));
}

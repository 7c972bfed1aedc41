// Who works, on what, how well isolated, and who is leaving; for administrators.

import {get, post} from './api.js';
import {ask, button, h, Items, replace} from './dom.js';
import {has, t} from './i18n.js';
import {poll, say} from './live.js';
import {empty, problemBox, repository} from './show.js';
import {now, running, when} from './time.js';

const LATE_MS = 60000;

// A worker's own count is as old as its last word; which attempts go on is known at once.
function taken(worker) {
	return worker.jobs ? worker.jobs.length : worker.running;
}

function stateOf(worker) {
	if (now() - Date.parse(worker.seen_at) > LATE_MS) return 'silent';
	if (worker.draining) return 'draining';
	return taken(worker) ? 'busy' : 'idle';
}

function slots(worker) {
	return h('span.slots', {role: 'img', 'aria-label': t('workers.slots', {n: taken(worker), slots: worker.slots})},
		Array.from({length: Math.min(worker.slots, 64)}, (_, index) => h(`span${index < taken(worker) ? '.taken' : ''}`)));
}

function row(worker, change) {
	const state = stateOf(worker);
	const level = has(`isolation.${worker.isolation}`) ? t(`isolation.${worker.isolation}`) : worker.isolation;
	return h(`li.worker.is-${state}`, {'data-worker': worker.worker}, h('div.worker-head', h('h2', h('bdi', worker.worker)), h('span.badge', t(`worker.${state}`)),
		button(t(worker.draining ? 'workers.resume' : 'workers.drain'), () => change(worker), {class: 'quiet', 'data-is': 'drain', 'aria-label': `${t(worker.draining ? 'workers.resume' : 'workers.drain')}: ${worker.worker}`})),
		h('p', slots(worker), ` ${t('workers.slots', {n: taken(worker), slots: worker.slots})}`),
		h('dl.facts', h('div', h('dt', t('fact.isolation')), h('dd', level)), h('div', h('dt', t('workers.where')), h('dd', `${worker.host} (${worker.pid})`)),
			h('div', h('dt', t('workers.version')), h('dd', worker.version)), h('div', h('dt', t('workers.since')), h('dd', when(worker.started_at))),
			h('div', h('dt', t('workers.seen')), h('dd', when(worker.seen_at)))),
		worker.jobs && worker.jobs.length ? h('ul.plain', worker.jobs.map((job) => h('li', h('a', {href: `#/job/${job.key}`}, h('bdi', repository(job.url))), ' ',
			h('bdi', job.usuario), ' · ', running(job.started_at)))) : null);
}

export async function show(main, at) {
	const seen = {};
	let workers = [];
	const list = h('ul.workers', {role: 'list', 'aria-label': t('nav.workers')}), lead = h('p.lead'), trouble = h('div'), none = h('div');
	const change = async ({worker, draining}) => {
		if (!draining && !await ask(t('workers.ask'), t('workers.ask.more'), t('workers.drain'), t('cancel.no'))) return;
		replace(trouble);
		try {
			await post(`workers/${encodeURIComponent(worker)}/${draining ? 'resume' : 'drain'}`);
			say(t(draining ? 'workers.resumed' : 'worker.draining'));
			seen.etag = null;
			await draw();
		} catch (error) {
			replace(trouble, problemBox(error));
		}
	};
	const rows = new Items(list, (worker) => row(worker, change));
	const draw = async () => {
		workers = await get('workers', {signal: at.signal, seen}) || workers; // who falls silent says nothing new
		lead.textContent = t('workers.lead', {n: workers.length, running: workers.reduce((sum, worker) => sum + taken(worker), 0),
			slots: workers.reduce((sum, worker) => sum + worker.slots, 0)});
		rows.set(workers.map((worker) => [worker.worker, worker, stateOf(worker) + JSON.stringify(worker)]));
		replace(none, workers.length ? null : empty(t('workers.empty'), t('workers.empty.more')));
	};
	await draw();
	replace(main, h('div.head', h('h1', t('nav.workers'))), lead, trouble, list, none);
	poll(at.signal, 3000, draw);
}

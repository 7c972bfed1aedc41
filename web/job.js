// One job: how it stands, why, what it did, its log, and what can be done with it.

import {get, post} from './api.js';
import {artifacts} from './artifacts.js';
import {ask, button, h, outward, redraw, replace} from './dom.js';
import {t} from './i18n.js';
import {poll, say, tabIcon} from './live.js';
import {Log} from './log.js';
import {keep, remember} from './place.js';
import {title} from './shell.js';
import {commitLink, copyButton, ended, keyOf, labels, outcomeWords, pill, problemBox, repository} from './show.js';
import {timeline} from './timeline.js';
import {bytes, duration, exact, running, when} from './time.js';
import {waitingNode} from './waiting.js';

function fact(name, ...values) {
	return values.some((value) => value !== null && value !== undefined && value !== '') ? h('div', h('dt', name), h('dd', values)) : null;
}

function head(job) {
	return [h('p.crumb', h('a', {href: '#/'}, t('nav.list'))),
		h('div.job-head', h('h1', {id: 'job'}, h('bdi', repository(job.url))), pill(job.status),
			job.status === 'Running' && job.claimed_at ? h('span.took', running(job.claimed_at)) : h('span.took', job.execution_ms !== null && ended(job.status) ? duration(job.execution_ms) : '')),
		h('p.from', outward(job.url), job.ref ? h('span.ref', h('bdi', job.ref)) : null, job.commit ? [' ', commitLink(job.url, job.commit)] : null, labels(job.labels)),
		job.plan ? h('p.from.runs', t('fact.plan'), h('code', job.plan.command), `(${job.plan.kind})`) : null];
}

function outcomePanel(job) {
	if (!ended(job.status)) return null;
	const words = outcomeWords(job.outcome, job.limits);
	if (!words) return null;
	return h(`section.panel.outcome.is-${job.status.toLowerCase()}`, {'aria-labelledby': 'outcome-title'}, h('h2', {id: 'outcome-title'}, words.what),
		job.reused_from ? h('p', h('a', {href: `#/job/${job.reused_from}`}, t('outcome.reused'))) : null,
		words.blame ? h('p', words.blame) : null, words.todo ? h('p', words.todo) : null,
		words.message && job.outcome.code !== 'ok' ? h('p.small', h('bdi', words.message)) : null,
		job.dead ? h('p', h('a', {href: '#/dead'}, t('outcome.dead'))) : null);
}

function isolation(job) {
	if (!job.isolation) return null;
	const {level, network, memory, missing} = job.isolation;
	return [level && t(`isolation.${level}`), network && t('isolation.network', {network}), memory && t('isolation.memory', {memory}), missing].filter(Boolean).join(' · ');
}

function limitsText(limits) {
	if (!limits) return null;
	return [limits.timeout_s && duration(limits.timeout_s * 1000), limits.memory_bytes && bytes(limits.memory_bytes),
		limits.processes && t('limits.processes', {n: limits.processes}), limits.disk_bytes && t('limits.disk', {bytes: bytes(limits.disk_bytes)})].filter(Boolean).join(' · ');
}

function facts(job) {
	const env = Object.keys(job.env || {});
	return h('section.panel', {'aria-labelledby': 'facts-title'}, h('h2', {id: 'facts-title'}, t('facts')), h('dl.facts.wide',
		fact(t('fact.commit'), job.commit ? h('code.long', job.commit) : null),
		fact(t('fact.posted'), when(job.posted_at)), fact(t('fact.started'), job.claimed_at ? when(job.claimed_at) : null),
		fact(t('fact.finished'), job.finished_at ? when(job.finished_at) : null), fact(t('fact.wait'), job.wait_ms !== null ? duration(job.wait_ms) : null),
		fact(t('fact.memory'), job.peak_memory_bytes ? bytes(job.peak_memory_bytes) : null), fact(t('fact.cpu'), job.cpu_us ? duration(job.cpu_us / 1000) : null),
		fact(t('fact.output'), job.output ? `${bytes(job.output.bytes)}${job.output.truncated ? ` (${t('fact.kept', {bytes: bytes(job.output.kept)})})` : ''}` : null),
		fact(t('fact.limits'), limitsText(job.limits)), fact(t('fact.isolation'), isolation(job)),
		fact(t('fact.owner'), h('bdi', job.usuario)), fact(t('fact.priority'), job.priority ? String(job.priority) : null),
		fact(t('fact.retries'), job.retries ? String(job.retries) : null), fact(t('fact.concurrency'), job.concurrency_key ? h('bdi', job.concurrency_key) : null),
		fact(t('fact.on_done'), job.on_done ? h('bdi', job.on_done.url || job.on_done) : null),
		fact(t('fact.env'), env.length ? h('code', env.join(' ')) : null),
		fact(t('fact.key'), h('code.long', job.key), ' ', copyButton(job.key, t('fact.key')))));
}

class JobPage {
	constructor(main, at) {
		Object.assign(this, {main, at, key: keyOf(at.rest), signal: at.signal, seen: {}, calls: {}});
		this.parts = Object.fromEntries(['head', 'actions', 'trouble', 'state', 'timeline', 'facts', 'left', 'deliveries'].map((name) => [name, h(`div.part-${name}`)]));
		this.log = new Log({key: this.key, signal: at.signal, line: at.query.get('L'), kept: at.kept.log, onKeep: (log) => keep({log}),
			onLine: (line) => remember({L: line}), onStatus: () => this.soon()});
	}

	async act(work) {
		replace(this.parts.trouble);
		try {
			await work();
		} catch (error) {
			replace(this.parts.trouble, problemBox(error));
		}
		this.seen = {};
		this.soon();
	}

	async cancel() {
		if (!await ask(t('cancel.ask'), t('cancel.ask.more'), t('cancel.yes'), t('cancel.no'))) return;
		await this.act(async () => {
			const answer = await post(`trabajos/${this.key}/cancel`);
			say(t(`cancel.${answer.cancel}`));
		});
	}

	async replay() {
		await this.act(() => post(`trabajos/${this.key}/replay`));
		this.log.start();
	}

	actions(job) {
		const over = ended(job.status);
		return [over ? button(t('replay'), () => this.replay(), {class: 'primary'}) : null,
			!over ? button(t(job.cancel_requested_at ? 'cancel.asked' : 'cancel'), () => this.cancel(), {class: 'danger', disabled: Boolean(job.cancel_requested_at)}) : null,
			h('a.button', {href: `#/new?from=${job.key}`}, t('change'))];
	}

	part(name, text, make) {
		if (this[`drawn_${name}`] === text) return;
		this[`drawn_${name}`] = text;
		redraw(this.parts[name], make());
	}

	draw(job) {
		const of = (...values) => JSON.stringify(values);
		title(`${t(`status.${job.status}`)}: ${repository(job.url)}`);
		tabIcon(job.status);
		this.part('head', of(job.status, job.commit, job.plan, job.claimed_at, job.execution_ms), () => head(job));
		this.part('actions', of(job.status, job.cancel_requested_at), () => this.actions(job));
		if (job.status !== this.status) {
			if (this.status) say(t(`status.${job.status}`));
			this.status = job.status;
		}
		this.part('state', of(job.status, job.outcome, job.waiting, job.dead, job.reused_from), () => {
			if (this.counting) this.counting.abort();
			this.counting = new AbortController();
			this.signal.addEventListener('abort', () => this.counting.abort());
			return [job.waiting ? waitingNode(job.waiting, this.counting.signal) : null, outcomePanel(job)];
		});
		this.part('timeline', of(job.attempts), () => [timeline(job)]);
		this.part('facts', of({...job, waiting: null, wait_ms: job.waiting ? null : job.wait_ms}), () => [facts(job)]);
		this.log.setAttempts(job.attempt);
		if (ended(job.status) && this.left !== job.attempt) {
			this.left = job.attempt;
			artifacts(this.key, job.artifacts, this.signal).then((node) => this.signal.aborted || replace(this.parts.left, node)).catch((error) => this.signal.aborted || replace(this.parts.left, problemBox(error)));
		}
		this.told = Boolean(job.on_done && ended(job.status));
	}

	async deliveries() {
		const all = await get(`trabajos/${this.key}/deliveries`, {signal: this.signal, seen: this.calls});
		if (!all || !all.length) return;
		// of each call the last try alone says when it goes on
		const goesOn = (one) => one.next_at && !all.some((other) => other.id === one.id && other.try > one.try);
		redraw(this.parts.deliveries, h('section.panel', {'aria-labelledby': 'deliveries-title'}, h('h2', {id: 'deliveries-title'}, t('deliveries')),
			h('ul.plain', all.map((one) => h('li', one.at ? [when(one.at), ' ', t('delivery', {n: one.try, answer: one.status_code || one.error || '–'})] : t('delivery.none'),
				goesOn(one) ? [' · ', t('delivery.next', {at: exact(one.next_at)})] : null)))));
	}

	async refresh() {
		const job = await get(`trabajos/${this.key}`, {signal: this.signal, seen: this.seen});
		if (job && !this.signal.aborted) this.draw(job);
		if (this.told) await this.deliveries();
	}

	// What a failure means is told by the next regular look.
	soon() {
		this.refresh().catch(() => {});
	}

	async show() {
		await this.refresh();
		if (this.signal.aborted) return;
		const {head: top, actions, trouble, state, timeline: bars, facts: table, left, deliveries} = this.parts;
		replace(this.main, h('div.job-top', top, actions), trouble, state, bars, this.log.node, left, table, deliveries);
		this.log.start(this.log.begin);
		poll(this.signal, 2000, () => this.refresh());
	}
}

export async function show(main, at) {
	await new JobPage(main, at).show();
}

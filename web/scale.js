// How many workers there should be, and why: over time, each decision with its reason; and how good the forecasts were.

import {get} from './api.js';
import {chart, ranges} from './chart.js';
import {h, redraw, replace} from './dom.js';
import {has, number, t} from './i18n.js';
import {poll} from './live.js';
import {empty} from './show.js';
import {duration, exact, now, when} from './time.js';

const SHOWN = 50; // decisions in words
const hours = [1, 6, 24];

function points(decisions, value) {
	return decisions.map((one) => [Date.parse(one.at), value(one) || 0]);
}

function picture(all, span, at) {
	const before = all.filter((one) => Date.parse(one.at) <= span[0]).pop();
	const decisions = [...(before ? [before] : []), ...all.filter((one) => Date.parse(one.at) > span[0])];
	const of = (value) => points(decisions, value);
	return chart([
		{name: t('scale.workers'), format: number, lines: [{points: of((one) => one.actual), kind: 'actual', name: t('scale.actual'), filled: true},
			{points: of((one) => one.wanted), kind: 'wanted', name: t('scale.wanted')}]},
		{name: t('scale.queue'), format: number, lines: [{points: of((one) => one.sample.queue && one.sample.queue.jobs), kind: 'queue', filled: true}]},
		{name: t('scale.oldest'), format: duration, timed: true, lines: [{points: of((one) => one.sample.queue && one.sample.queue.oldest_ms), kind: 'oldest', filled: true}]},
	], span, t('scale.chart', {n: decisions.length}), at);
}

// What came of a decision, once its time has passed.
function verdict({verdict: name, needed, late}) {
	if (!has(`verdict.${name}`)) return null;
	return h(`span.badge.is-${name}`, {title: t('verdict.more_of_it', {needed, late})}, t(`verdict.${name}`, {needed}));
}

function judged(data) {
	const {judged: all, right, more, fewer} = (data.score && data.score.decisions) || {};
	return all ? h('p', t('scale.judged', {right, all, more, fewer})) : null;
}

function decision(one) {
	return h('li', {'data-at': Date.parse(one.at)}, when(one.at), h('strong.number', one.wanted === one.actual ? String(one.wanted) : `${one.actual} → ${one.wanted}`),
		h('span', one.reason, one.outcome ? [' ', verdict(one.outcome)] : null));
}

function score(data) {
	const {scored, inside, early, late} = data.score || {};
	if (!scored) return h('p', t('scale.no_score'));
	return [h('p', t('scale.score', {inside, scored, share: Math.round(inside / scored * 100)})), h('p.small', t('scale.score.more', {early, late})),
		data.starts && data.starts.length ? [ranges(data.starts, t('scale.starts', {n: data.starts.length}), duration),
			h('ul.legend', h('li', h('span.dot.of-told', {'aria-hidden': 'true'}), t('scale.told')), h('li', h('span.dot.of-came', {'aria-hidden': 'true'}), t('scale.came')),
				h('li', h('span.dot.of-missed', {'aria-hidden': 'true'}), t('scale.missed')))] : null];
}

function actions(data) {
	if (!data.actions.length) return null;
	return h('section.panel', {'aria-labelledby': 'actions-title'}, h('h2', {id: 'actions-title'}, t('scale.actions')), h('ol.decisions', data.actions.slice(0, SHOWN).map((one) =>
		h('li', when(one.at), h('strong.number', `${one.actual} → ${one.wanted}`), h('span', t(`scale.${one.state}`), one.detail ? ` ${one.detail}` : '')))));
}

class Scale {
	constructor(at) {
		this.signal = at.signal;
		this.hours = 1;
		this.body = h('div');
		this.line = h('p.small', {'aria-live': 'off'});
		this.seen = {};
	}

	draw() {
		const {data} = this;
		const all = [...data.decisions].reverse();
		if (!all.length) {
			replace(this.body, empty(t('scale.empty'), t('scale.empty.more')));
			return;
		}
		// no emptier than it has to be, where the first decision is younger than that
		const span = [Math.max(now() - this.hours * 3600000, Math.min(Date.parse(all[0].at), now() - 120000)), now()];
		const newest = data.decisions[0];
		redraw(this.body, h('section.panel.now', h('p.big-number', h('strong', String(newest.wanted)), h('span', t('scale.now', {n: newest.wanted, actual: newest.actual}))), h('p', newest.reason)),
			h('section.panel', {'aria-labelledby': 'chart-title'}, h('div.tools', h('h2', {id: 'chart-title'}, t('scale.over_time')), h('span.buttons', hours.map((n) =>
				h('button.quiet', {type: 'button', 'aria-pressed': String(n === this.hours), onclick: () => {
					this.hours = n;
					this.draw();
				}}, t('scale.hours', {n}))))), picture(all, span, (ms) => this.point(all, ms)), this.line),
			h('section.panel', {'aria-labelledby': 'score-title'}, h('h2', {id: 'score-title'}, t('scale.forecasts')), score(data)),
			h('section.panel', {'aria-labelledby': 'decisions-title'}, h('h2', {id: 'decisions-title'}, t('scale.decisions')), judged(data), h('ol.decisions', data.decisions.slice(0, SHOWN).map(decision))),
			actions(data));
	}

	point(all, ms) {
		const one = ms === null ? null : all.filter((each) => Date.parse(each.at) <= ms).pop();
		this.line.textContent = one ? `${exact(one.at)} · ${one.actual} → ${one.wanted} · ${one.reason}` : '';
	}

	async refresh() {
		const data = await get('scale?limit=1000', {signal: this.signal, seen: this.seen});
		if (!data) return;
		this.data = data;
		this.draw();
	}
}

export async function show(main, at) {
	const scale = new Scale(at);
	await scale.refresh();
	replace(main, h('div.head', h('h1', t('nav.scale'))), h('p.lead', t('scale.lead')), scale.body);
	poll(at.signal, 5000, () => scale.refresh());
}

// Dead letters: jobs that failed although they had more than one try; why, how often, and again with one or with many.

import {page, post, query} from './api.js';
import {user} from './auth.js';
import {ask, button, h, redraw, replace} from './dom.js';
import {number, t} from './i18n.js';
import {say} from './live.js';
import {remember} from './place.js';
import {empty, outcomeWords, problemBox, repository} from './show.js';
import {when} from './time.js';

const LOOK_PAGES = 20; // that a cause is looked for in before somebody is asked whether to go on
const codes = ['exit', 'signal', 'timeout', 'memory', 'processes', 'disk', 'files', 'output', 'no_plan', 'not_found', 'denied', 'fetch', 'sandbox', 'lost'];

class Dead {
	constructor(at) {
		this.signal = at.signal;
		this.filter = {code: at.query.get('code') || '', usuario: user().admin ? at.query.get('usuario') || '' : ''};
		this.chosen = new Set();
		this.list = h('ul.dead', {role: 'list', 'aria-label': t('nav.dead')});
		this.tools = h('div.tools');
		this.foot = h('div.more');
		this.trouble = h('div');
	}

	row(job) {
		const words = outcomeWords(job.outcome) || {what: ''};
		const box = h('input', {type: 'checkbox', 'aria-label': t('dead.choose', {what: repository(job.url)}), onchange: () => {
			if (box.checked) this.chosen.add(job.key);
			else this.chosen.delete(job.key);
			this.drawTools();
		}});
		return h('li', {'data-key': job.key}, box, h('div.what', h('a', {href: `#/job/${job.key}`}, h('bdi', repository(job.url))),
			this.filter.usuario ? h('span.owner', h('bdi', job.usuario)) : null, h('p.why', words.what, words.blame ? ` ${words.blame}` : ''),
			words.message ? h('p.small', h('bdi', words.message)) : null,
			h('p.small', t('dead.tries', {n: job.attempt}), ' · ', when(job.died_at))),
		button(t('replay'), () => this.replay({keys: [job.key]}), {class: 'quiet'}));
	}

	drawTools() {
		const {size} = this.chosen;
		redraw(this.tools, h('label.field', h('span', t('dead.code')), h('select', {name: 'code', onchange: (event) => this.change({code: event.target.value})},
			h('option', {value: ''}, t('dead.any')), codes.map((code) => h('option', {value: code, selected: code === this.filter.code}, t(`code.${code}`))))),
		user().admin ? h('label.field', h('span', t('list.usuario')), h('input', {name: 'usuario', type: 'search', value: this.filter.usuario, placeholder: t('list.usuario.hint'),
			onchange: (event) => this.change({usuario: event.target.value.trim()})})) : null,
		h('span.buttons', button(t('dead.replay_chosen', {n: size}), () => this.replay({keys: [...this.chosen]}), {class: 'primary', 'data-is': 'chosen', disabled: !size}),
			button(t('dead.replay_all'), () => this.replayAll(), {disabled: !this.list.children.length})));
	}

	async replayAll() {
		if (!await ask(t('dead.ask'), t('dead.ask.more'), t('dead.yes'), t('cancel.no'))) return;
		const {code, usuario} = this.filter;
		await this.replay({filter: {...(code ? {code} : {}), ...(usuario ? {usuario} : {})}});
	}

	async replay(what) {
		replace(this.trouble);
		try {
			let replayed = 0, answer;
			do {
				answer = await post('dead/replay', what);
				replayed += answer.replayed;
				what = {...what, ...(answer.next ? {after: answer.next} : {})};
			} while (answer.more && (answer.replayed || answer.next) && what.filter);
			say(t('dead.replayed', {n: replayed}));
			replace(this.trouble, h('p.notice.good', {tabindex: '-1'}, t('dead.replayed', {n: replayed})));
		} catch (error) {
			replace(this.trouble, problemBox(error));
		}
		await this.load();
		const done = this.trouble.querySelector('[tabindex]');
		if (done) done.focus(); // the button was its row's, which is gone
	}

	change(filter) {
		Object.assign(this.filter, filter);
		remember(this.filter);
		return this.load();
	}

	async load() {
		this.chosen.clear();
		this.after = null;
		replace(this.list);
		await this.more();
	}

	async more() {
		try {
			let fresh, pages = 0;
			do {
				fresh = await page(`dead${query({limit: 100, after: this.after, usuario: this.filter.usuario})}`, {signal: this.signal});
				this.after = fresh.after;
				const {code} = this.filter;
				this.list.append(...fresh.items.filter((job) => !code || (job.outcome && job.outcome.code === code)).map((job) => this.row(job)));
			} while (this.after && this.list.children.length < 50 && ++pages < LOOK_PAGES);
			const count = this.list.children.length;
			if (!count && !this.after) replace(this.foot, empty(t(this.filter.code ? 'list.none' : 'dead.empty'), t('dead.empty.more')));
			else redraw(this.foot, this.after ? button(t('list.more'), () => this.more()) : h('span', t('dead.count', {n: number(count)})));
		} catch (error) {
			if (this.signal.aborted) return;
			replace(this.foot, problemBox(error, () => this.more()));
		}
		this.drawTools();
	}
}

export async function show(main, at) {
	const dead = new Dead(at);
	await dead.more();
	replace(main, h('div.head', h('h1', t('nav.dead'))), h('p.lead', t('dead.lead')), dead.tools, dead.trouble, dead.list, dead.foot);
}

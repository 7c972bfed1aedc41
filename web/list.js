// The list of jobs: newest first, live, filtered; goes on as far as somebody scrolls.

import {get, page, query} from './api.js';
import {user} from './auth.js';
import {button, h, replace} from './dom.js';
import {number, t} from './i18n.js';
import {poll, say} from './live.js';
import {remember, title} from './shell.js';
import {empty, ended, isKey, labels, outcomeWords, pill, problemBox, repository, shortCommit, skeleton, statuses} from './show.js';
import {duration, running, when} from './time.js';

const PAGE = 50;
const LIVE_MOST = 200; // rows that are kept true; further down they are as they were when they came
const LOOK_MOST = 5000; // jobs that a search of the text looks through before it asks whether to go on

function tookNode(job) {
	if (job.status === 'Running' && job.claimed_at) return running(job.claimed_at);
	return h('span', job.execution_ms === null || job.execution_ms === undefined || !ended(job.status) ? '' : duration(job.execution_ms));
}

function row(job, everybody) {
	const words = ended(job.status) && job.status !== 'Finished' ? outcomeWords(job.outcome) : null;
	return h('li.job', {'data-key': job.key}, pill(job.status),
		h('span.what', h('a', {href: `#/job/${job.key}`}, h('bdi', repository(job.url))),
			job.ref ? h('span.ref', h('bdi', job.ref)) : null, job.commit ? h('code', shortCommit(job.commit)) : null, labels(job.labels),
			words ? h('span.why', words.what) : null),
		h('span.owner', everybody ? h('bdi', job.usuario) : null), h('span.took', tookNode(job)), h('span.age', when(job.posted_at)));
}

function matches(job, text) {
	if (!text) return true;
	const all = [job.url, job.key, job.ref, job.commit, job.usuario, ...Object.entries(job.labels || {}).map(([name, value]) => `${name}=${value}`)];
	const wanted = text.toLowerCase();
	return all.some((one) => one && one.toLowerCase().includes(wanted));
}

class List {
	constructor(at) {
		this.signal = at.signal;
		this.filter = {status: at.query.get('status') || '', label: at.query.get('label') || '', text: at.query.get('text') || '',
			usuario: user().admin ? at.query.get('usuario') || '' : ''};
		this.rows = new Map(); // key → {text, node}
		this.list = h('ul.jobs', {'aria-label': t('list.jobs')});
		this.foot = h('div.more');
		this.seen = {};
	}

	path(more) {
		const {status, label, usuario} = this.filter;
		return `trabajos${query({order: 'desc', status, label, usuario, ...more})}`;
	}

	put(job) {
		const text = JSON.stringify(job), old = this.rows.get(job.key);
		if (old && old.text === text) return old.node;
		const node = row(job, this.filter.usuario);
		if (old) {
			const focused = old.node.contains(document.activeElement);
			old.node.replaceWith(node);
			if (focused) node.querySelector('a').focus();
		}
		this.rows.set(job.key, {text, node});
		return node;
	}

	async more() {
		const {text} = this.filter;
		let looked = 0, found = 0;
		this.loading = true;
		replace(this.foot, h('span', {role: 'status'}, t('loading')));
		try {
			do {
				const {items, after} = await page(this.path({limit: text ? 1000 : PAGE, after: this.after}), {signal: this.signal});
				looked += items.length;
				for (const job of items.filter((one) => matches(one, text))) {
					found++;
					this.list.append(this.put(job));
				}
				this.after = after;
			} while (this.after && found < (text ? PAGE : 1) && looked < LOOK_MOST);
			this.looked = (this.looked || 0) + looked;
			this.end();
		} finally {
			this.loading = false;
		}
	}

	end() {
		const {status, label, text} = this.filter;
		if (!this.rows.size && !this.after) {
			const filtered = status || label || text;
			replace(this.foot, filtered ? empty(t('list.none'), t('list.none.more'), button(t('list.all'), () => this.change({status: '', label: '', text: ''})))
				: empty(t('list.empty'), t('list.empty.more'), h('a.button.primary', {href: '#/new'}, t('nav.submit'))));
		} else if (this.after) {
			replace(this.foot, text ? h('span', t('list.looked', {n: this.looked})) : null, button(t(text ? 'list.further' : 'list.more'), () => this.again()));
		} else {
			replace(this.foot, h('span', t('list.end', {n: this.rows.size})));
		}
	}

	async again() {
		try {
			await this.more();
		} catch (error) {
			if (!this.signal.aborted) replace(this.foot, problemBox(error, () => this.again()));
		}
	}

	// The newest rows as they are now; what is new comes on top.
	async refresh() {
		if (this.loading || this.filter.text) return;
		const jobs = await get(this.path({limit: Math.min(LIVE_MOST, Math.max(PAGE, this.rows.size))}), {signal: this.signal, seen: this.seen});
		if (!jobs || this.loading) return;
		const shown = new Set(jobs.map((job) => job.key));
		const last = jobs.length ? jobs[jobs.length - 1] : null;
		let fresh = 0, before = null;
		for (const job of jobs.reverse()) {
			const known = this.rows.has(job.key), node = this.put(job);
			if (!known) {
				fresh++;
				if (before) before.before(node);
				else this.list.append(node);
			}
			before = node;
		}
		// What has left the filter, of the range that came
		for (const [key, {node, text}] of [...this.rows]) {
			if (shown.has(key) || (last && JSON.parse(text).posted_at <= last.posted_at)) continue;
			node.remove();
			this.rows.delete(key);
		}
		if (fresh) {
			say(t('list.fresh', {n: fresh}));
			if (!this.after || this.rows.size === fresh) this.end();
		}
	}

	async change(filter) {
		Object.assign(this.filter, filter);
		remember(this.filter);
		this.rows.clear();
		this.after = null;
		this.looked = 0;
		this.seen = {};
		replace(this.list);
		this.drawFilters();
		await this.again();
	}

	drawFilters() {
		const chosen = new Set(this.filter.status.split(',').filter(Boolean));
		for (const chip of this.chips) chip.setAttribute('aria-pressed', String(chosen.has(chip.value)));
		for (const field of this.fields) if (document.activeElement !== field) field.value = this.filter[field.name];
	}

	filters() {
		this.chips = statuses.map((status) => h('button.chip', {type: 'button', value: status, onclick: () => {
			const chosen = new Set(this.filter.status.split(',').filter(Boolean));
			if (!chosen.delete(status)) chosen.add(status);
			this.change({status: [...chosen].join(',')});
		}}, pill(status)));
		const field = (name, attributes) => h('label.field', h('span', t(`list.${name}`)), h('input', {name, type: 'search', autocomplete: 'off', spellcheck: 'false',
			placeholder: t(`list.${name}.hint`), value: this.filter[name], onchange: (event) => this.typed(name, event.target.value.trim()),
			oninput: (event) => {
				clearTimeout(this.typing);
				this.typing = setTimeout(() => this.typed(name, event.target.value.trim()), 400);
			}, ...attributes}));
		const fields = [field('text', {'data-search': true}), field('label'), user().admin ? field('usuario', {list: 'everybody'}) : null];
		this.fields = fields.filter(Boolean).map((one) => one.querySelector('input'));
		return h('div.filters', {role: 'search', 'aria-label': t('list.filters')}, h('div.chips', {role: 'group', 'aria-label': t('list.status')}, this.chips), fields,
			user().admin ? h('datalist', {id: 'everybody'}, h('option', {value: '*'}, t('list.everybody'))) : null);
	}

	typed(name, value) {
		if (this.signal.aborted) return;
		if (name === 'text' && isKey(value)) location.hash = `#/job/${value.toLowerCase()}`;
		else if (this.filter[name] !== value) this.change({[name]: value});
	}

	// j and k, or the arrows: from row to row
	walk(event) {
		const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key];
		if (!step || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
		const here = document.activeElement.closest('.job');
		const next = here ? (step > 0 ? here.nextElementSibling : here.previousElementSibling) : this.list.firstElementChild;
		if (!next) return;
		event.preventDefault();
		next.querySelector('a').focus();
	}
}

export async function show(main, at) {
	const list = new List(at);
	title(t('nav.list'));
	const head = h('div.head', h('h1', t('nav.list')), h('a.button.primary', {href: '#/new'}, t('list.new')));
	const filters = list.filters();
	list.drawFilters();
	replace(main, head, filters, skeleton());
	await list.more();
	replace(main, head, filters, list.list, list.foot);
	addEventListener('keydown', (event) => list.walk(event), {signal: at.signal});
	new IntersectionObserver(([edge]) => {
		if (edge.isIntersecting && list.after && !list.loading && !list.filter.text) list.again();
	}, {rootMargin: '600px'}).observe(list.foot);
	poll(at.signal, 2000, () => list.refresh());
	if (list.rows.size) say(t('list.shown', {n: number(list.rows.size)}));
}

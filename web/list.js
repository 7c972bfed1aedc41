// The list of jobs: the newest first, filtered, and true: of however many rows, those that are looked at are asked for again and again.

import {get, page, Problem, query} from './api.js';
import {user} from './auth.js';
import {button, h, redraw, replace} from './dom.js';
import {t} from './i18n.js';
import {poll, say} from './live.js';
import {keep, remember} from './place.js';
import {Rows} from './rows.js';
import {empty, ended, isKey, labels, outcomeWords, pill, problemBox, repository, shortCommit, skeleton, statuses} from './show.js';
import {duration, exact, running, when} from './time.js';

const PAGE = 50;
const BACK_MOST = 5000; // rows that are fetched anew to come back to where somebody was
const LOOK_MS = 10000; // that a filter is looked for further back before somebody is asked whether to go on

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

// The jobs that are known, with an answer that begins behind the first `from` of them; what it covers and does not name is gone.
function merge(known, from, answer, covered) {
	const named = new Set(answer.map(({key}) => key));
	const others = known.map((job, index) => !named.has(job.key) && (index < from || !covered(job)));
	return [...known.slice(0, from).filter((_, index) => others[index]), ...answer, ...known.slice(from).filter((_, index) => others[from + index])];
}

class List {
	constructor(at) {
		this.signal = at.signal;
		this.filter = {status: at.query.get('status') || '', label: at.query.get('label') || '', text: at.query.get('text') || '',
			usuario: user().admin ? at.query.get('usuario') || '' : ''};
		this.list = h('ul.jobs', {role: 'list', 'aria-label': t('list.jobs')});
		this.rows = new Rows(this.list, (job) => row(job, this.filter.usuario), at.signal);
		this.foot = h('div.more', skeleton());
		this.fresh = h('div.fresh', {hidden: true});
		this.turn = 0; // counts what changes the rows, so that an answer that was overtaken is known
		this.seen = {window: {}, head: {}};
	}

	path(more) {
		const {status, label, text, usuario} = this.filter;
		return `trabajos${query({order: 'desc', status, label, text, usuario, ...more})}`;
	}

	get filtered() {
		const {status, label, text} = this.filter;
		return Boolean(status || label || text);
	}

	put(all) {
		this.turn++;
		this.rows.set(all, !this.after);
	}

	// ---- further down

	// Goes on until a page is full: where a filter fits few jobs, the server looks at a bounded number of them at a time.
	async more(limit = PAGE) {
		if (this.search) this.search.abort();
		const search = this.search = new AbortController(), until = performance.now() + LOOK_MS;
		const stop = () => search.abort();
		this.signal.addEventListener('abort', stop);
		let found = 0;
		try {
			do {
				this.tellSearch(stop);
				const {items, after} = await page(this.path({limit, after: this.after}), {signal: search.signal});
				if (search.signal.aborted) break;
				found += items.length;
				this.after = after;
				this.put([...this.rows.all, ...items.filter(({key}) => !this.rows.has(key))]);
			} while (this.after && found < PAGE && performance.now() < until);
			this.asked = found < PAGE; // whether somebody must say that it is to go on
		} catch (error) {
			if (!search.signal.aborted || this.signal.aborted) throw error;
			this.asked = true;
		} finally {
			this.signal.removeEventListener('abort', stop);
			if (this.search === search) this.search = null;
		}
		if (!this.search && !this.signal.aborted) this.end();
	}

	// How far back it was looked: a place in the list begins with its moment, in microseconds.
	backTo() {
		const [, us] = /^(\d{16})\./.exec(this.after || '') || [];
		return us ? t('list.back_to', {moment: exact(Number(us) / 1000)}) : null;
	}

	tellSearch(stop) {
		if (!this.rows.all.length && !this.after) return; // the skeleton says it
		if (!this.filtered) redraw(this.foot, button(t('loading'), null, {class: 'quiet', 'data-is': 'search', 'aria-disabled': 'true'}));
		else if (this.after) redraw(this.foot, h('span', t('list.searching', {n: this.rows.all.length})), h('span', this.backTo()), button(t('list.stop'), stop, {'data-is': 'search'}));
	}

	end() {
		if (!this.rows.all.length && !this.after) {
			redraw(this.foot, this.filtered ? empty(t('list.none'), t('list.none.more'), button(t('list.all'), () => this.change({status: '', label: '', text: ''})))
				: empty(t('list.empty'), t('list.empty.more'), h('a.button.primary', {href: '#/new'}, t('nav.submit'))));
		} else if (this.after) {
			redraw(this.foot, this.asked ? h('span', this.backTo()) : null, button(t(this.asked ? 'list.further' : 'list.more'), () => this.again(), {'data-is': 'search'}));
		} else {
			redraw(this.foot, h('span', t('list.end', {n: this.rows.all.length})));
		}
		this.look();
	}

	// Goes on by itself while the list's end is near. An observer tells of changes alone, and of several at once on a busy machine: the
	// last one counts, and it is asked anew whenever rows have come.
	watch() {
		this.edge = new IntersectionObserver((edges) => {
			if (edges[edges.length - 1].isIntersecting && this.after && !this.search && !this.asked) this.again();
		}, {rootMargin: '600px'});
		this.signal.addEventListener('abort', () => this.edge.disconnect());
		this.look();
	}

	look() {
		if (!this.edge) return;
		this.edge.unobserve(this.foot);
		this.edge.observe(this.foot);
	}

	async again() {
		try {
			await this.more();
		} catch (error) {
			if (!this.signal.aborted) replace(this.foot, problemBox(error, () => this.again()));
		}
	}

	// ---- as it is now

	async follow() {
		if (this.search) return;
		const {from, to} = this.rows;
		try {
			await this.followWindow(from < PAGE ? 0 : from, to);
			if (from >= PAGE) await this.followHead();
		} catch (error) {
			// a job that a request begins behind has gone for good: from the beginning
			if (!(error instanceof Problem) || error.status !== 400 || !from) throw error;
			await this.change({});
		}
	}

	// The rows that are seen, and nothing further down than those.
	async followWindow(from, to) {
		const {all} = this.rows, {turn} = this, seen = this.seen.window;
		const toEnd = to === all.length && !this.after;
		while (to && to < all.length && all[to].posted_at === all[to - 1].posted_at) to++;
		const since = toEnd || !to ? null : all[to - 1].posted_at;
		const answer = await get(this.path({limit: Math.min(1000, to - from + PAGE), after: from ? all[from - 1].key : null, since}), {signal: this.signal, seen});
		if (!answer || this.turn !== turn) return;
		const last = answer[answer.length - 1];
		const covered = seen.more ? (job) => last && job.posted_at > last.posted_at : (job) => !since || job.posted_at >= since;
		this.take(merge(all, from, answer, covered));
	}

	// What is newer than all that is known, while somebody looks further down.
	async followHead() {
		const {all} = this.rows, {turn} = this;
		const answer = await get(this.path({order: 'asc', limit: 100, after: all[0].key}), {signal: this.signal, seen: this.seen.head});
		if (answer && answer.length && this.turn === turn) this.take(merge(all, 0, answer.reverse(), () => false));
	}

	take(all) {
		const before = this.rows.all, newest = before.length ? before[0].posted_at : '';
		const keys = new Set(before.map(({key}) => key));
		const fresh = all.filter((job) => job.posted_at >= newest && !keys.has(job.key)).length;
		const same = all.length === before.length;
		this.put(all);
		if (!same) this.end();
		if (!fresh) return;
		say(t('list.fresh', {n: fresh}));
		this.unseen = this.list.getBoundingClientRect().top < 0 ? (this.unseen || 0) + fresh : 0;
		this.tellFresh();
	}

	tellFresh() {
		this.fresh.hidden = !this.unseen;
		if (this.unseen) replace(this.fresh, button(`↑ ${t('list.fresh', {n: this.unseen})}`, () => {
			const focused = this.fresh.contains(document.activeElement);
			scrollTo({top: 0, behavior: 'instant'});
			if (focused) this.rows.show(0, this.list.getBoundingClientRect().top).querySelector('a').focus();
		}, {class: 'primary'}));
	}

	// ---- what is chosen

	async change(filter) {
		Object.assign(this.filter, filter);
		remember(this.filter);
		keep({row: null, focus: null});
		if (this.search) this.search.abort();
		this.after = null;
		this.unseen = 0;
		this.seen = {window: {}, head: {}};
		this.tellFresh();
		replace(this.foot, skeleton());
		this.put([]);
		this.drawFilters();
		await this.again();
		if (!this.signal.aborted) say(t('list.shown', {n: this.rows.all.length}));
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
		const fields = [field('text', {'data-search': true, maxlength: 100}), field('label'), user().admin ? field('usuario', {list: 'everybody'}) : null];
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
		if (!step || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || !this.rows.all.length) return;
		event.preventDefault();
		this.rows.walk(step);
	}

	// ---- where somebody was

	keepPlace() {
		const {top} = this.list.getBoundingClientRect();
		const {key, top: at} = (top < 0 && this.rows.anchor()) || {};
		keep({row: key || null, at: Math.round(at || 0), focus: this.list.contains(document.activeElement) ? this.rows.here : null});
		if (top >= 0 && this.unseen) {
			this.unseen = 0;
			this.tellFresh();
		}
	}

	async back({row: key, at, focus}) {
		while (key && this.after && !this.asked && !this.rows.has(key) && this.rows.all.length < BACK_MOST && !this.signal.aborted) await this.more(500);
		const index = this.rows.all.findIndex((job) => job.key === key);
		if (index >= 0) this.rows.show(index, at);
		const row = focus && this.rows.element(focus);
		if (row) row.querySelector('a').focus({preventScroll: true});
	}
}

export async function show(main, at) {
	const list = new List(at);
	const head = h('div.head', h('h1', t('nav.list')), h('a.button.primary', {href: '#/new'}, t('list.new')));
	const filters = list.filters();
	list.drawFilters();
	replace(main, head, filters, list.fresh, list.list, list.foot);
	const first = list.more(); // its rows are shown as they come
	addEventListener('keydown', (event) => list.walk(event), {signal: at.signal});
	await first;
	await list.back(at.kept);
	for (const event of ['scroll', 'focusin']) addEventListener(event, () => list.keepPlace(), {signal: at.signal, passive: true});
	list.watch();
	poll(at.signal, 2000, () => list.follow());
	if (list.rows.all.length) say(t('list.shown', {n: list.rows.all.length}));
}

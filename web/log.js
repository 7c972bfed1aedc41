// A job's log: live, with colours and a search. However long it is, only the lines that are seen are elements.

import {call, fail} from './api.js';
import {button, h, replace} from './dom.js';
import {t} from './i18n.js';
import {Lines, textOf} from './lines.js';
import {follow} from './stream.js';
import {exact} from './time.js';

const AROUND = 20; // lines beyond the window
const SHOWN_MOST = 5000; // characters of a line

function paint(node, state) {
	const [fg, bg] = state.inverse ? [state.bg ?? 'back', state.fg ?? 'fore'] : [state.fg, state.bg];
	for (const [name, value] of [['fg', fg], ['bg', bg]]) {
		if (value === null) continue;
		if (typeof value === 'string' && value.startsWith('rgb')) node.style[name === 'fg' ? 'color' : 'backgroundColor'] = value;
		else node.classList.add(`${name}-${value}`);
	}
	for (const name of ['bold', 'dim', 'italic', 'underline']) if (state[name]) node.classList.add(name);
	return node;
}

// The text with what was searched for marked
function marked(text, wanted) {
	if (!wanted) return [text];
	const parts = [], low = text.toLowerCase();
	let from = 0;
	for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
		parts.push(text.slice(from, at), h('mark', text.slice(at, at + wanted.length)));
		from = at + wanted.length;
	}
	parts.push(text.slice(from));
	return parts;
}

function content(line, wanted) {
	const runs = line.runs || [{text: line.text, state: null}];
	let left = SHOWN_MOST;
	const nodes = runs.map(({text, state}) => {
		const shown = text.slice(0, Math.max(left, 0));
		left -= text.length;
		const parts = marked(shown, wanted);
		return state ? paint(h('span', parts), state) : parts;
	});
	return left < 0 ? [nodes, h('span.note', t('log.cut', {n: -left}))] : nodes;
}

export class Log {
	// at: {key, signal, line: "12" or "12-15", kept: what onKeep was told when this was seen last, onStatus, onLine, onKeep}
	constructor(at) {
		this.at = at;
		this.lines = new Lines();
		this.following = !at.line;
		this.paused = null; // events that wait
		this.wanted = '';
		this.found = [];
		this.choose(at.line);
		this.build();
		this.comeBack(at.kept || {});
	}

	comeBack({search, attempt, top}) {
		this.begin = attempt || '';
		if (search) {
			this.search.value = search;
			this.wanted = search.toLowerCase();
		}
		if (!top || this.chosen) return;
		this.setFollowing(false);
		this.upper = top;
	}

	keep() {
		const now = {search: this.search.value, attempt: this.attempts.value, top: this.following ? null : Math.floor(this.view.scrollTop / this.high) + 1};
		const text = JSON.stringify(now);
		if (text !== this.kept) this.at.onKeep(now);
		this.kept = text;
	}

	choose(line) {
		const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(line || '') || [];
		this.chosen = from ? [Number(from), Number(to || from)].sort((a, b) => a - b) : null;
		this.sought = this.chosen ? this.chosen[0] : null; // to be scrolled to once it is there
	}

	build() {
		this.block = h('div.block');
		this.space = h('div.space', this.block);
		this.view = h('div.view', {tabindex: '0', role: 'log', 'aria-live': 'off', 'aria-label': t('log')}, this.space);
		this.view.addEventListener('scroll', () => {
			const bottom = this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight;
			this.setFollowing(bottom < 4);
			if (this.high) this.keep();
			this.soon();
		}, {passive: true});
		this.view.addEventListener('keydown', (event) => {
			if (event.key !== 'Enter' || event.target !== this.view || !this.lines.all.length) return;
			this.pick(event, (this.found[this.here] ?? Math.ceil(this.view.scrollTop / this.high)) + 1);
		});
		this.word = h('span.state', {role: 'status'});
		this.count = h('span.count', {role: 'status'});
		this.search = h('input', {type: 'search', 'aria-label': t('log.search'), placeholder: t('log.search'), 'data-search': true, autocomplete: 'off', spellcheck: 'false',
			oninput: () => this.seek(), onkeydown: (event) => {
				if (event.key !== 'Enter') return;
				event.preventDefault();
				this.step(event.shiftKey ? -1 : 1);
			}});
		this.followButton = button(t('log.follow'), () => {
			this.setFollowing(true);
			this.view.scrollTop = this.view.scrollHeight;
		}, {class: 'quiet'});
		this.pauseButton = button(t('log.pause'), () => this.pause(), {class: 'quiet', 'aria-pressed': 'false'});
		this.timesButton = button(t('log.times'), () => {
			const on = this.view.classList.toggle('with-times');
			this.timesButton.setAttribute('aria-pressed', String(on));
		}, {class: 'quiet', 'aria-pressed': 'false'});
		this.attempts = h('select', {'aria-label': t('log.attempt'), hidden: true, onchange: () => this.start(this.attempts.value)});
		this.node = h('section.panel.log', {'aria-labelledby': 'log-title'},
			h('div.tools', h('h2', {id: 'log-title'}, t('log')), this.word, this.attempts, h('span.find', this.search, this.count,
				button('↑', () => this.step(-1), {class: 'quiet', 'aria-label': t('log.before')}), button('↓', () => this.step(1), {class: 'quiet', 'aria-label': t('log.next')})),
			this.timesButton, this.pauseButton, this.followButton, button(t('log.download'), () => this.download(), {class: 'quiet'})), this.view);
		this.setFollowing(this.following);
		new ResizeObserver(() => this.soon()).observe(this.view);
	}

	setFollowing(on) {
		this.following = on;
		this.followButton.setAttribute('aria-pressed', String(on));
	}

	pause() {
		if (this.paused) {
			const waiting = this.paused;
			this.paused = null;
			waiting.forEach((event) => this.take(event));
		} else {
			this.paused = [];
		}
		this.pauseButton.setAttribute('aria-pressed', String(Boolean(this.paused)));
		this.pauseButton.textContent = t(this.paused ? 'log.go_on' : 'log.pause');
	}

	// A choice among the attempts, where there are several; '' is the newest.
	setAttempts(count) {
		if (count < 2 || this.attempts.options.length === count) return;
		const chosen = this.attempts.value || this.begin;
		replace(this.attempts, Array.from({length: count}, (_, index) => h('option', {value: index ? String(count - index) : ''}, t('log.attempt.n', {n: count - index}))));
		this.attempts.value = chosen;
		this.attempts.hidden = false;
	}

	take(event) {
		if (event.attempt !== this.attempt) {
			if (this.attempt && this.lines.all.length) this.lines.note(t('log.attempt.n', {n: event.attempt}));
			this.attempt = event.attempt;
		}
		this.lines.add(event.stream, event.at, textOf(event));
		this.changed();
	}

	state(name) {
		this.word.className = `state is-${name}`;
		this.word.textContent = t(`log.${name}`);
	}

	async start(attempt = '') {
		if (this.running) this.running.abort();
		this.begin = attempt;
		this.attempts.value = attempt;
		const running = this.running = new AbortController();
		this.at.signal.addEventListener('abort', () => running.abort());
		this.lines.clear();
		this.attempt = null;
		this.found = [];
		this.changed();
		this.state('connecting');
		try {
			await follow(`trabajos/${this.at.key}/log${attempt ? `?attempt=${attempt}` : ''}`, running.signal, {
				state: (name) => this.state(name),
				event: (name, data) => {
					if (name === 'output' && this.paused) {
						this.paused.push(data);
						this.pauseButton.textContent = t('log.waiting', {n: this.paused.length});
					} else if (name === 'output') {
						this.take(data);
					} else if (name === 'status' || name === 'end') {
						this.at.onStatus(data);
					}
				},
			});
			if (!this.lines.all.length && !running.signal.aborted) this.lines.note(t('log.empty'));
			this.changed();
		} catch (error) {
			if (running.signal.aborted) return;
			this.state('failed');
			this.lines.note(error.message);
			this.changed();
		}
	}

	// ---- what is seen

	changed() {
		this.version = (this.version || 0) + 1;
		this.soon();
	}

	soon() {
		if (this.due) return;
		this.due = requestAnimationFrame(() => {
			this.due = 0;
			this.draw();
		});
	}

	draw() {
		if (!this.high) {
			const probe = h('div.line', h('span.text', 'M'));
			this.block.append(probe);
			this.high = probe.getBoundingClientRect().height;
			probe.remove();
			if (!this.high) return;
		}
		const {all} = this.lines;
		this.space.style.height = `${all.length * this.high}px`;
		this.space.style.minWidth = `calc(${Math.min(this.lines.widest, SHOWN_MOST)}ch + 7rem)`;
		if (this.sought && all.length >= this.sought) {
			this.view.scrollTop = (this.sought - 1) * this.high - this.view.clientHeight / 3;
			this.sought = null;
		} else if (this.upper && all.length >= this.upper) {
			this.view.scrollTop = (this.upper - 1) * this.high;
			this.upper = null;
		} else if (this.following) {
			this.view.scrollTop = this.view.scrollHeight;
		}
		const first = Math.max(0, Math.floor(this.view.scrollTop / this.high) - AROUND);
		const last = Math.min(all.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / this.high) + AROUND);
		const seen = `${first} ${last} ${this.version}`; // what is selected stays so where nothing has changed
		if (seen === this.seen) return;
		this.seen = seen;
		this.block.style.transform = `translateY(${first * this.high}px)`;
		replace(this.block, all.slice(first, last).map((line, index) => this.row(line, first + index)));
		if (this.wanted) this.find();
	}

	row(line, index) {
		const number = index + 1, chosen = this.chosen && number >= this.chosen[0] && number <= this.chosen[1];
		const time = line.at ? h('time', {datetime: line.at}, line.at.slice(11, 23)) : h('time');
		return h(`div.line.of-${line.stream}${chosen ? '.chosen' : ''}${this.found[this.here] === index ? '.here' : ''}`,
			h('a.number', {href: `#/job/${this.at.key}?L=${number}`, tabindex: '-1', title: line.at ? exact(line.at) : null, 'aria-label': t('log.line', {n: number}),
				onclick: (event) => this.pick(event, number)}, String(number)), time,
			h('span.text', line.stream === 'stderr' ? h('span.unseen', 'stderr: ') : null, content(line, this.wanted)));
	}

	pick(event, number) {
		event.preventDefault();
		const range = event.shiftKey && this.chosen ? [Math.min(number, this.chosen[0]), Math.max(number, this.chosen[1])] : [number, number];
		this.chosen = range;
		this.at.onLine(range[0] === range[1] ? String(range[0]) : range.join('-'));
		this.changed();
	}

	// ---- search

	seek() {
		this.wanted = this.search.value.toLowerCase();
		this.found = [];
		this.looked = 0;
		this.here = undefined;
		this.find();
		if (this.found.length) this.step(1);
		this.keep();
		this.changed();
	}

	// The lines that came since the last look; the last one may have grown.
	find() {
		const {all} = this.lines;
		if (!this.wanted) {
			this.count.textContent = '';
			return;
		}
		const from = Math.max(0, Math.min(this.looked || 0, all.length) - 2);
		this.found = this.found.filter((index) => index < from);
		for (let index = from; index < all.length; index++) if (all[index].text.toLowerCase().includes(this.wanted)) this.found.push(index);
		this.looked = all.length;
		this.count.textContent = this.found.length ? t('log.found', {at: (this.here ?? 0) + 1, n: this.found.length}) : t('log.not_found');
	}

	step(by) {
		if (!this.found.length) return;
		this.here = this.here === undefined ? 0 : (this.here + by + this.found.length) % this.found.length;
		this.setFollowing(false);
		this.view.scrollTop = this.found[this.here] * this.high - this.view.clientHeight / 3;
		this.find();
		this.changed();
	}

	async download() {
		const attempt = this.attempts.value;
		const response = await call(`trabajos/${this.at.key}/log${attempt ? `?attempt=${attempt}` : ''}`);
		if (!response.ok) {
			this.lines.note((await fail(response)).message);
			this.changed();
			return;
		}
		save(await response.blob(), `${this.at.key}.log`);
	}
}

export function save(blob, name) {
	const address = URL.createObjectURL(blob);
	h('a', {href: address, download: name}).click();
	setTimeout(() => URL.revokeObjectURL(address), 60000);
}
